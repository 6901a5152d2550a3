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

// checkReason fails the test unless the inventory comes from the source and gives a reason of one
// line that contains all parts. Devices must never be nil.
func checkReason(t *testing.T, inv gpu.Inventory, source string, parts ...string) {
	t.Helper()
	if inv.Source != source {
		t.Errorf("the source is %q, want %q", inv.Source, source)
	}
	for _, part := range parts {
		if !strings.Contains(inv.Reason, part) {
			t.Errorf("the reason %q does not contain %q", inv.Reason, part)
		}
	}
	if strings.Contains(inv.Reason, "\n") {
		t.Errorf("the reason %q is not one line", inv.Reason)
	}
	if inv.Devices == nil {
		t.Error("Devices is nil")
	}
}

// twoGPUs returns a root folder with a driver that lists two GPUs.
func twoGPUs(t testing.TB) string {
	t.Helper()
	return writeDriverFiles(t, map[string]string{
		"0000:02:00.0": information(gputest.UUID(2), "0000:02:00.0", "0"),
		"0000:01:00.0": information(gputest.UUID(1), "0000:01:00.0", "1"),
	})
}

func TestDiscoverWithoutDriver(t *testing.T) {
	const want = "no NVIDIA driver is loaded"
	o := Options{Root: t.TempDir()}
	checkReason(t, Discover(o), gpu.SourceNone, want)
	c := NewClient(nil) // starting a child would fail, and the reason would say so
	defer c.Close()
	checkReason(t, DiscoverWith(within(t, long), c, o), gpu.SourceNone, want)
}

func TestDiscoverMissingLibrary(t *testing.T) {
	missing := filepath.Join(t.TempDir(), "missing.so")
	inv := Discover(Options{Library: missing, Root: twoGPUs(t)})
	checkReason(t, inv, gpu.SourceDriver, "; using the driver's files in /proc/driver/nvidia")
	if len(inv.Devices) != 2 || inv.Devices[0].UUID != gputest.UUID(1) {
		t.Errorf("devices %+v, want two, %s first", inv.Devices, gputest.UUID(1))
	}
	if inv.DriverVersion != "535.129.03" {
		t.Errorf("the driver's version is %q, want 535.129.03", inv.DriverVersion)
	}
	inv = Discover(Options{Library: missing, Root: t.TempDir()})
	checkReason(t, inv, gpu.SourceNone, "cannot read the driver's files")
	inv = Discover(Options{Library: missing, Root: writeDriverFiles(t, map[string]string{"x": ""})})
	checkReason(t, inv, gpu.SourceNone, "list no GPU")
}

func TestDiscoverWithHangingChild(t *testing.T) {
	c := newTestClient(t, childHang)
	inv := DiscoverWith(within(t, short), c, Options{Root: twoGPUs(t)})
	checkReason(t, inv, gpu.SourceDriver,
		"NVML did not answer within ", "ms; using the driver's files")
	if len(inv.Devices) != 2 {
		t.Errorf("devices %+v, want two", inv.Devices)
	}
}

func TestDiscoverWithCrashingChild(t *testing.T) {
	c := newTestClient(t, childCrash)
	inv := DiscoverWith(within(t, long), c, Options{Root: twoGPUs(t)})
	checkReason(t, inv, gpu.SourceDriver,
		"the GPU probe died: exit status 2", "using the driver's files")
}

// TestDiscoverWithStuckDriver has a driver that is so stuck that even its files cannot be read.
// Opening a named pipe that has no writer blocks in the same way.
func TestDiscoverWithStuckDriver(t *testing.T) {
	root := writeDriverFiles(t, nil)
	path := filepath.Join(root, driverFolder, "gpus", "0000:01:00.0", "information")
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	returned := make(chan struct{})
	inv := inventoryWithin(short, "NVML hangs", func() gpu.Inventory {
		defer close(returned)
		return driverInventory(root, "NVML hangs")
	})
	checkReason(t, inv, gpu.SourceNone,
		"NVML hangs; the driver's files", "could not be read within 50ms either")
	select {
	case <-returned:
		t.Error("the files could be read, so the test shows nothing")
	default:
	}
	writer, err := os.OpenFile(path, os.O_WRONLY, 0) // the reader returns then
	if err != nil {
		t.Fatal(err)
	}
	writer.Close()
	<-returned
}

func TestGrantedTime(t *testing.T) {
	begin := time.Now()
	for granted, want := range map[time.Duration]string{
		30*time.Second - 40*time.Microsecond: "30s",
		2500 * time.Millisecond:              "2.5s",
		50 * time.Millisecond:                "50ms",
	} {
		ctx, cancel := context.WithDeadline(context.Background(), begin.Add(granted))
		if got := grantedTime(ctx, begin).String(); got != want {
			t.Errorf("%v is rounded to %s, want %s", granted, got, want)
		}
		cancel()
	}
}

func TestInventoryJSON(t *testing.T) {
	for _, test := range []struct {
		value any
		want  string
	}{
		{emptyInventory("why"), `{"source":"none","reason":"why","devices":[]}`},
		{gpu.Device{Minor: new(0)}, `{"index":0,"uuid":"","name":"","pci_bus_id":"",` +
			`"minor_number":0,"mig_enabled":false}`},
	} {
		text, err := json.Marshal(test.value)
		if err != nil {
			t.Fatal(err)
		}
		if string(text) != test.want {
			t.Errorf("the JSON is %s, want %s", text, test.want)
		}
	}
}

// TestGPUsWithoutDeviceFile has a container that sees the driver's files of its host, but has the
// device file of one GPU only, or of none. CUDA counts what can be opened.
func TestGPUsWithoutDeviceFile(t *testing.T) {
	missing := Options{Library: filepath.Join(t.TempDir(), "missing.so"), Root: twoGPUs(t)}
	// GPU 1 of the host has minor number 0.
	if err := os.Remove(filepath.Join(missing.Root, "dev/nvidia1")); err != nil {
		t.Fatal(err)
	}
	inv := Discover(missing)
	checkReason(t, inv, gpu.SourceDriver, "without the GPUs that have no device file here "+
		"(/dev/nvidia1)")
	if len(inv.Devices) != 1 || inv.Devices[0].UUID != gputest.UUID(2) ||
		inv.Devices[0].Index != 0 {
		t.Fatalf("devices %+v, want the one with a device file", inv.Devices)
	}
	if v := inv.Visible("", false); gputest.IDs(v) != gputest.UUID(2) {
		t.Errorf("it is named %q, want its UUID", gputest.IDs(v))
	}
	if v := inv.Visible("0", true); gputest.IDs(v) != "0" {
		t.Errorf("it is named %q, want the user's name", gputest.IDs(v))
	}
	if err := os.Remove(filepath.Join(missing.Root, "dev/nvidia0")); err != nil {
		t.Fatal(err)
	}
	inv = Discover(missing)
	checkReason(t, inv, gpu.SourceNone, "list 2 GPUs, but none has a device file here "+
		"(/dev/nvidia1, /dev/nvidia0)")
	// A GPU whose device file is not known may have one.
	writeFile(t, filepath.Join(missing.Root, driverFolder, "gpus/0000:03:00.0/information"),
		"Model: Fake GPU\n")
	inv = Discover(missing)
	checkReason(t, inv, gpu.SourceDriver)
	if len(inv.Devices) != 1 || inv.Devices[0].PCIBusID != "0000:03:00.0" {
		t.Errorf("devices %+v", inv.Devices)
	}
}

// TestLibraryProblem checks that a named library that cannot be loaded is told from one that does
// not work, and from one that was not named.
func TestLibraryProblem(t *testing.T) {
	missing := filepath.Join(t.TempDir(), "missing.so")
	text := filepath.Join(t.TempDir(), "libnvidia-ml.so.1")
	writeFile(t, text, "no library")
	for _, library := range []string{missing, text} {
		for _, root := range []string{t.TempDir(), twoGPUs(t)} {
			inv := Discover(Options{Library: library, Root: root})
			if !strings.HasPrefix(inv.Reason, inv.LibraryProblem) || inv.LibraryProblem == "" {
				t.Errorf("%s: the problem is %q, the reason %q", library, inv.LibraryProblem,
					inv.Reason)
			}
		}
	}
	if inv := Discover(Options{Root: t.TempDir()}); inv.LibraryProblem != "" {
		t.Errorf("without a name the problem is %q", inv.LibraryProblem)
	}
}

// jetson returns the root folder of a machine with the device file of an integrated GPU.
func jetson(t *testing.T, file string) string {
	t.Helper()
	root := t.TempDir()
	writeFile(t, filepath.Join(root, file), "")
	writeFile(t, filepath.Join(root, modelFile), "NVIDIA Jetson AGX Orin\x00")
	return root
}

func TestIntegratedGPU(t *testing.T) {
	for _, file := range integratedFiles {
		root := jetson(t, file)
		c := NewClient(nil) // there is no NVML to ask
		defer c.Close()
		for _, inv := range []gpu.Inventory{Discover(Options{Root: root}),
			DiscoverWith(within(t, long), c, Options{Root: root})} {
			checkReason(t, inv, gpu.SourceIntegrated, "no NVIDIA driver is loaded",
				"using the integrated GPU of NVIDIA Jetson AGX Orin ("+file+" exists)",
				"CUDA_VISIBLE_DEVICES left as it is")
			if len(inv.Devices) != 1 || !inv.Devices[0].Integrated ||
				inv.Devices[0].Name != "NVIDIA Jetson AGX Orin" || !inv.Devices[0].Usable() {
				t.Errorf("devices %+v", inv.Devices)
			}
		}
	}
	// With the driver of a display, but without NVML and without other GPUs.
	root := jetson(t, integratedFiles[0])
	writeFile(t, filepath.Join(root, driverFolder, "version"), versionText)
	writeFile(t, filepath.Join(root, "/dev/nvidiactl"), "")
	library := filepath.Join(t.TempDir(), "missing.so")
	checkReason(t, Discover(Options{Library: library, Root: root}), gpu.SourceIntegrated,
		"cannot read the driver's files", "using the integrated GPU")
	// A board in whose container there is no device file of the GPU.
	root = t.TempDir()
	writeFile(t, filepath.Join(root, modelFile), "NVIDIA Jetson AGX Orin\x00")
	checkReason(t, Discover(Options{Root: root}), gpu.SourceNone)
}
