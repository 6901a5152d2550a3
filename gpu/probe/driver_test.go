package probe

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/gpulaunch/gpulaunch/gpu"
	"github.com/gpulaunch/gpulaunch/gpu/gputest"
)

const (
	informationText = "Model: \t\t NVIDIA H100 80GB HBM3\nIRQ:   \t\t 10\nGPU UUID: \t GPU-9221d5d1-b60b-a624-bf14-0a1819cfda3b\n" +
		"Video BIOS: \t 96.00.99.00.01\nBus Type: \t PCIe\nDMA Size: \t 52 bits\nDMA Mask: \t 0xfffffffffffff\n" +
		"Bus Location: \t 0000:62:00.0\nDevice Minor: \t 5\nGPU Firmware: \t 535.129.03\nGPU Excluded:\t No\n"
	versionText = "NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.129.03  Thu Oct 19 18:56:32 UTC 2023\n" +
		"GCC version:  gcc version 12.2.0 (Debian 12.2.0-14)\n"
)

// driverRoot writes a root folder with a driver's files: one information text for each address.
func driverRoot(t testing.TB, gpus map[string]string) string {
	t.Helper()
	root := t.TempDir()
	writeFile(t, filepath.Join(root, driverFolder, "version"), versionText)
	for address, text := range gpus {
		writeFile(t, filepath.Join(root, driverFolder, "gpus", address, "information"), text)
	}
	return root
}

func writeFile(t testing.TB, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// information is a driver's text about a GPU.
func information(uuid, address string, minor string) string {
	return "Model: \t\t Fake GPU\nGPU UUID: \t " + uuid + "\nBus Location: \t " + address + "\nDevice Minor: \t " + minor + "\n"
}

func TestParseInformation(t *testing.T) {
	minor := 5
	whole := gpu.Device{UUID: "GPU-9221d5d1-b60b-a624-bf14-0a1819cfda3b", Name: "NVIDIA H100 80GB HBM3", PCIBusID: "0000:62:00.0", Minor: &minor}
	for _, test := range []struct {
		about, text string
		want        gpu.Device
	}{
		{"all", informationText, whole},
		{"no newline at the end", strings.TrimSuffix(informationText, "\n"), whole},
		{"nothing", "", gpu.Device{}},
		{"unopened GPU", "GPU UUID: \t GPU-????????-????-????-????-????????????\nModel: Unknown\n", gpu.Device{}},
		{"half a UUID", "GPU UUID: GPU-9221d5d1", gpu.Device{}},
		{"UUID without hexadecimal digits", "GPU UUID: GPU-x221d5d1-b60b-a624-bf14-0a1819cfda3b", gpu.Device{}},
		{"negative minor", "Device Minor: -1\nDevice Minor: 99999999999\n", gpu.Device{}},
		{"name with an escape sequence", "Model: a\x1b[31mb\xff\n", gpu.Device{Name: "a[31mb"}},
		{"upper case address", "Bus Location: 00000001:AB:1F.0", gpu.Device{PCIBusID: "0001:ab:1f.0"}},
	} {
		t.Run(test.about, func(t *testing.T) {
			d, excluded := parseInformation(test.text)
			if diff := cmp.Diff(test.want, d); diff != "" || excluded {
				t.Error(diff, excluded)
			}
		})
	}
}

func FuzzParseInformation(f *testing.F) {
	f.Add(informationText)
	f.Add("GPU UUID: GPU-????????-????-????-????-????????????")
	f.Add("Model:\x00\nBus Location: 0:0:0.0\nDevice Minor: 0x1")
	f.Fuzz(func(t *testing.T, text string) {
		d, _ := parseInformation(text)
		if d.UUID != "" && (strings.ContainsAny(d.UUID, "?, \n") || len(d.UUID) != 40) {
			t.Errorf("UUID %q", d.UUID)
		}
		if at, ok := parsePCI(d.PCIBusID); d.PCIBusID != "" && (!ok || at.String() != d.PCIBusID) {
			t.Errorf("address %q", d.PCIBusID)
		}
		if d.Minor != nil && *d.Minor < 0 {
			t.Errorf("minor %d", *d.Minor)
		}
		if strings.ContainsAny(d.Name, "\n\x1b\x00") {
			t.Errorf("name %q", d.Name)
		}
	})
}

func TestParseVersion(t *testing.T) {
	for text, want := range map[string]string{
		versionText: "535.129.03",
		"NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  550.54.15  Release Build  (dvs-builder@U16)": "550.54.15",
		"NVRM version: NVIDIA UNIX aarch64 Kernel Module  390.157  Wed":                                        "390.157",
		"GCC version:  12.2.0": "",
		"NVRM version: none":   "",
		"":                     "",
	} {
		if got := parseVersion(text); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}

func TestDriverDevices(t *testing.T) {
	root := driverRoot(t, map[string]string{
		"0001:01:00.0": information(gputest.UUID(2), "0001:01:00.0", "0"),
		"0000:c1:00.0": information(gputest.UUID(1), "0000:c1:00.0", "1"),
		"0000:1b:00.0": "", // the folder's name is enough
		"0000:1a:00.0": "GPU Excluded:\t Yes\n",
		"0000:1a:01.0": "GPU Blacklisted:\t Yes\n",
	})
	writeFile(t, filepath.Join(root, driverFolder, "gpus", "notes", "information"), "no GPU")
	if err := os.Mkdir(filepath.Join(root, driverFolder, "gpus", "0000:1c:00.0"), 0o755); err != nil {
		t.Fatal(err)
	}
	devices, err := driverDevices(root)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for i, d := range devices {
		if d.Index != i {
			t.Errorf("device %d has index %d", i, d.Index)
		}
		got = append(got, d.PCIBusID+" "+d.UUID)
	}
	want := []string{"0000:1b:00.0 ", "0000:1c:00.0 ", "0000:c1:00.0 " + gputest.UUID(1), "0001:01:00.0 " + gputest.UUID(2)}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if !devices[0].Usable() || devices[1].Usable() {
		t.Errorf("only what is unreadable is a problem: %+v", devices)
	}
}

func TestDriverPresent(t *testing.T) {
	for _, path := range []string{"/proc/driver/nvidia/version", "/dev/nvidiactl", "/dev/dxg"} {
		root := t.TempDir()
		if DriverPresent(root) {
			t.Error("an empty root has a driver")
		}
		writeFile(t, filepath.Join(root, path), "")
		if !DriverPresent(root) {
			t.Errorf("%s is no driver", path)
		}
	}
}

func TestParsePCI(t *testing.T) {
	for text, want := range map[string]string{
		"0000:1b:00.0": "0000:1b:00.0", "00000000:1B:00.0": "0000:1b:00.0", "10000:01:00.0": "10000:01:00.0", "0:0:1f.7": "0000:00:1f.7",
		"": "", "1b:00.0": "", "0000:1b:00": "", "0000:1g:00.0": "", "0000:1b:20.0": "", "0000:1b:00.8": "", "0000:100:00.0": "", "0000:1b:00.0:": "",
	} {
		at, ok := parsePCI(text)
		if ok != (want != "") || ok && at.String() != want {
			t.Errorf("%q: %v %v, want %q", text, at, ok, want)
		}
	}
}

func TestArrange(t *testing.T) {
	devices := []gpu.Device{{PCIBusID: "0001:00:00.0", Name: "d"}, {Name: "e"}, {PCIBusID: "0000:f0:00.0", Name: "c"}, {PCIBusID: "0000:1b:00.0", Name: "a"}, {Name: "b"}}
	from := arrange(devices)
	var names string
	for i, d := range devices {
		names += d.Name
		if d.Index != i {
			t.Errorf("device %d has index %d", i, d.Index)
		}
	}
	if names != "abcde" {
		t.Errorf("order %s", names)
	}
	if diff := cmp.Diff([]int{3, 4, 2, 0, 1}, from); diff != "" {
		t.Error(diff)
	}
}

func TestFillFrom(t *testing.T) {
	listed := []gpu.Device{{PCIBusID: "0000:01:00.0", UUID: "GPU-1", Name: "one"}, {PCIBusID: "0000:02:00.0", UUID: "GPU-2"}}
	devices := []gpu.Device{{Problem: "lost"}, {PCIBusID: "0000:02:00.0", Name: "two"}}
	fillFrom(listed, devices)
	want := []gpu.Device{{PCIBusID: "0000:01:00.0", UUID: "GPU-1", Name: "one", Problem: "lost"}, {PCIBusID: "0000:02:00.0", UUID: "GPU-2", Name: "two"}}
	if diff := cmp.Diff(want, devices); diff != "" {
		t.Error(diff)
	}
	unclear := []gpu.Device{{Problem: "lost"}}
	fillFrom(listed, unclear)
	if unclear[0].UUID != "" {
		t.Error("one of two was guessed")
	}
}

func TestCPUList(t *testing.T) {
	for want, words := range map[string][]uint64{
		"": nil, "0": {1}, "0-15,64-79": {0xffff, 0xffff}, "63-64": {1 << 63, 1}, "1,3,127": {0b1010, 1 << 63}, "0-127": {1<<64 - 1, 1<<64 - 1},
	} {
		if got := cpuList(words); got != want {
			t.Errorf("%x: %q, want %q", words, got, want)
		}
	}
}
