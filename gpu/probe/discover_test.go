package probe

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/gpulaunch/gpulaunch/gpu"
	"github.com/gpulaunch/gpulaunch/gpu/gputest"
)

func reasonHas(t *testing.T, inv gpu.Inventory, source string, parts ...string) {
	t.Helper()
	if inv.Source != source {
		t.Errorf("source %q, want %q", inv.Source, source)
	}
	for _, part := range parts {
		if !strings.Contains(inv.Reason, part) {
			t.Errorf("reason %q, want it to contain %q", inv.Reason, part)
		}
	}
	if strings.Contains(inv.Reason, "\n") || inv.Devices == nil {
		t.Errorf("not one line, or null devices: %+v", inv)
	}
}

// twoListed is a root with a driver that lists two GPUs.
func twoListed(t testing.TB) string {
	t.Helper()
	return driverRoot(t, map[string]string{
		"0000:02:00.0": information(gputest.UUID(2), "0000:02:00.0", "0"),
		"0000:01:00.0": information(gputest.UUID(1), "0000:01:00.0", "1"),
	})
}

func TestDiscoverWithoutDriver(t *testing.T) {
	root := t.TempDir()
	reasonHas(t, Discover(Options{Root: root}), gpu.SourceNone, "no NVIDIA driver is loaded")
	c := NewClient(nil) // a start would fail, and Reason would tell
	defer c.Close()
	reasonHas(t, DiscoverWith(within(t, long), c, Options{Root: root}), gpu.SourceNone, "no NVIDIA driver is loaded")
}

func TestDiscoverMissingLibrary(t *testing.T) {
	missing := filepath.Join(t.TempDir(), "missing.so")
	inv := Discover(Options{Library: missing, Root: twoListed(t)})
	reasonHas(t, inv, gpu.SourceDriver, "; using the driver's files in /proc/driver/nvidia")
	if len(inv.Devices) != 2 || inv.Devices[0].UUID != gputest.UUID(1) || inv.DriverVersion != "535.129.03" {
		t.Errorf("got %+v", inv)
	}
	reasonHas(t, Discover(Options{Library: missing, Root: t.TempDir()}), gpu.SourceNone, "the driver's files are no help")
	reasonHas(t, Discover(Options{Library: missing, Root: driverRoot(t, map[string]string{"x": ""})}), gpu.SourceNone, "list no GPU")
}

func TestDiscoverWithHangingChild(t *testing.T) {
	c := newTestClient(t, childHang)
	inv := DiscoverWith(within(t, short), c, Options{Root: twoListed(t)})
	reasonHas(t, inv, gpu.SourceDriver, "NVML did not answer within ", "ms; using the driver's files")
	if len(inv.Devices) != 2 {
		t.Errorf("devices %+v", inv.Devices)
	}
}

func TestDiscoverWithCrashingChild(t *testing.T) {
	c := newTestClient(t, childCrash)
	inv := DiscoverWith(within(t, long), c, Options{Root: twoListed(t)})
	reasonHas(t, inv, gpu.SourceDriver, "the GPU probe died: exit status 2", "using the driver's files")
}

// TestDiscoverWithStuckDriver plays a driver that is stuck so badly that not even its files can be read: opening a pipe
// that nobody writes blocks just so.
func TestDiscoverWithStuckDriver(t *testing.T) {
	root := driverRoot(t, nil)
	path := filepath.Join(root, driverFolder, "gpus", "0000:01:00.0", "information")
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	returned := make(chan struct{})
	read := func() gpu.Inventory {
		defer close(returned)
		return withoutNVML(root, "NVML hangs")
	}
	inv := bounded(short, read, "NVML hangs")
	reasonHas(t, inv, gpu.SourceNone, "NVML hangs; the driver's files", "did not answer within 50ms either")
	select {
	case <-returned:
		t.Error("the files were read, so this shows nothing")
	default:
	}
	writer, err := os.OpenFile(path, os.O_WRONLY, 0) // let go of the reader
	if err != nil {
		t.Fatal(err)
	}
	writer.Close()
	<-returned
}

func TestAllowed(t *testing.T) {
	begin := time.Now()
	for given, want := range map[time.Duration]string{30*time.Second - 40*time.Microsecond: "30s", 2500 * time.Millisecond: "2.5s", 50 * time.Millisecond: "50ms"} {
		ctx, cancel := context.WithDeadline(context.Background(), begin.Add(given))
		if got := allowed(ctx, begin).String(); got != want {
			t.Errorf("%v: %s, want %s", given, got, want)
		}
		cancel()
	}
}

func TestInventoryJSON(t *testing.T) {
	text, err := json.Marshal(none("why"))
	if err != nil {
		t.Fatal(err)
	}
	if want := `{"source":"none","reason":"why","devices":[]}`; string(text) != want {
		t.Errorf("%s, want %s", text, want)
	}
	zero := 0
	text, err = json.Marshal(gpu.Device{Minor: &zero})
	if err != nil {
		t.Fatal(err)
	}
	if want := `{"index":0,"uuid":"","name":"","pci_bus_id":"","minor_number":0,"mig_enabled":false}`; string(text) != want {
		t.Errorf("%s, want %s", text, want)
	}
}
