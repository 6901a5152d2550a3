package probe

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/gpulaunch/gpulaunch/gpu"
	"github.com/gpulaunch/gpulaunch/gpu/gputest"
)

const (
	informationText = "Model: \t\t NVIDIA H100 80GB HBM3\n" +
		"IRQ:   \t\t 10\n" +
		"GPU UUID: \t GPU-9221d5d1-b60b-a624-bf14-0a1819cfda3b\n" +
		"Video BIOS: \t 96.00.99.00.01\n" +
		"Bus Type: \t PCIe\n" +
		"DMA Size: \t 52 bits\n" +
		"DMA Mask: \t 0xfffffffffffff\n" +
		"Bus Location: \t 0000:62:00.0\n" +
		"Device Minor: \t 5\n" +
		"GPU Firmware: \t 535.129.03\n" +
		"GPU Excluded:\t No\n"
	versionText = "NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.129.03  " +
		"Thu Oct 19 18:56:32 UTC 2023\n" +
		"GCC version:  gcc version 12.2.0 (Debian 12.2.0-14)\n"
)

// writeDriverFiles returns a root folder with a driver's files, and with the device files of its
// GPUs. The map holds the information text for each address.
func writeDriverFiles(t testing.TB, gpus map[string]string) string {
	t.Helper()
	root := t.TempDir()
	writeFile(t, filepath.Join(root, driverFolder, "version"), versionText)
	for address, text := range gpus {
		writeFile(t, filepath.Join(root, driverFolder, "gpus", address, "information"), text)
		if d, _ := parseInformation(text); d.Minor != nil {
			writeFile(t, filepath.Join(root, fmt.Sprintf("/dev/nvidia%d", *d.Minor)), "")
		}
	}
	return root
}

// writeFile writes a file and makes its folder.
func writeFile(t testing.TB, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// information returns the driver's text about a GPU.
func information(uuid, address string, minor string) string {
	return "Model: \t\t Fake GPU\n" +
		"GPU UUID: \t " + uuid + "\n" +
		"Bus Location: \t " + address + "\n" +
		"Device Minor: \t " + minor + "\n"
}

func TestParseInformation(t *testing.T) {
	const uuid = "GPU-9221d5d1-b60b-a624-bf14-0a1819cfda3b"
	complete := gpu.Device{
		UUID: uuid, Name: "NVIDIA H100 80GB HBM3", PCIBusID: "0000:62:00.0", Minor: new(5),
	}
	for _, test := range []struct {
		about, text string
		want        gpu.Device
	}{
		{"complete", informationText, complete},
		{"no newline at the end", strings.TrimSuffix(informationText, "\n"), complete},
		{"empty", "", gpu.Device{}},
		{
			"unopened GPU",
			"GPU UUID: \t GPU-????????-????-????-????-????????????\nModel: Unknown\n",
			gpu.Device{},
		},
		{"half a UUID", "GPU UUID: GPU-9221d5d1", gpu.Device{}},
		{
			"UUID with a digit that is not hexadecimal",
			"GPU UUID: " + strings.Replace(uuid, "9", "x", 1), gpu.Device{},
		},
		{"negative minor", "Device Minor: -1\nDevice Minor: 99999999999\n", gpu.Device{}},
		{"name with an escape sequence", "Model: a\x1b[31mb\xff\n", gpu.Device{Name: "a[31mb"}},
		{
			"upper case address",
			"Bus Location: 00000001:AB:1F.0", gpu.Device{PCIBusID: "0001:ab:1f.0"},
		},
	} {
		t.Run(test.about, func(t *testing.T) {
			d, excluded := parseInformation(test.text)
			if diff := cmp.Diff(test.want, d); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if excluded {
				t.Error("the GPU is excluded")
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
		"NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  550.54.15  Release Build  " +
			"(dvs-builder@U16)": "550.54.15",
		"NVRM version: NVIDIA UNIX aarch64 Kernel Module  390.157  Wed": "390.157",
		"GCC version:  12.2.0": "",
		"NVRM version: none":   "",
		"":                     "",
	} {
		if got := parseVersion(text); got != want {
			t.Errorf("the version in %q is %q, want %q", text, got, want)
		}
	}
}

func TestDriverDevices(t *testing.T) {
	root := writeDriverFiles(t, map[string]string{
		"0001:01:00.0": information(gputest.UUID(2), "0001:01:00.0", "0"),
		"0000:c1:00.0": information(gputest.UUID(1), "0000:c1:00.0", "1"),
		"0000:1b:00.0": "", // the folder's name is enough
		"0000:1a:00.0": "GPU Excluded:\t Yes\n",
		"0000:1a:01.0": "GPU Blacklisted:\t Yes\n",
	})
	gpus := filepath.Join(root, driverFolder, "gpus")
	writeFile(t, filepath.Join(gpus, "notes", "information"), "no GPU")
	if err := os.Mkdir(filepath.Join(gpus, "0000:1c:00.0"), 0o755); err != nil {
		t.Fatal(err)
	}
	devices, err := driverDevices(root)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for i, d := range devices {
		if d.Index != i {
			t.Errorf("device %d has the index %d", i, d.Index)
		}
		got = append(got, d.PCIBusID+" "+d.UUID)
	}
	want := []string{
		"0000:1b:00.0 ", "0000:1c:00.0 ",
		"0000:c1:00.0 " + gputest.UUID(1), "0001:01:00.0 " + gputest.UUID(2),
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Fatalf("devices (-want +got):\n%s", diff)
	}
	if !devices[0].Usable() {
		t.Errorf("a device with an empty file has the problem %q", devices[0].Problem)
	}
	if devices[1].Usable() {
		t.Error("a device without a file has no problem")
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
			t.Errorf("a root with %s has no driver", path)
		}
	}
}

func TestParsePCI(t *testing.T) {
	for text, want := range map[string]string{
		"0000:1b:00.0":     "0000:1b:00.0",
		"00000000:1B:00.0": "0000:1b:00.0",
		"10000:01:00.0":    "10000:01:00.0",
		"0:0:1f.7":         "0000:00:1f.7",

		"": "", "1b:00.0": "", "0000:1b:00": "", "0000:1g:00.0": "", "0000:1b:20.0": "",
		"0000:1b:00.8": "", "0000:100:00.0": "", "0000:1b:00.0:": "",
	} {
		at, ok := parsePCI(text)
		if ok != (want != "") || ok && at.String() != want {
			t.Errorf("parsePCI(%q) = %v, %v; want %q", text, at, ok, want)
		}
	}
}

func TestArrange(t *testing.T) {
	devices := []gpu.Device{
		{PCIBusID: "0001:00:00.0", Name: "d"}, {Name: "e"},
		{PCIBusID: "0000:f0:00.0", Name: "c"},
		{PCIBusID: "0000:1b:00.0", Name: "a"}, {Name: "b"},
	}
	from := arrange(devices)
	var names string
	for i, d := range devices {
		names += d.Name
		if d.Index != i {
			t.Errorf("device %d has the index %d", i, d.Index)
		}
	}
	if names != "abcde" {
		t.Errorf("the order is %s, want abcde", names)
	}
	if diff := cmp.Diff([]int{3, 4, 2, 0, 1}, from); diff != "" {
		t.Errorf("former positions (-want +got):\n%s", diff)
	}
}

func TestFillFrom(t *testing.T) {
	const first, second = "0000:01:00.0", "0000:02:00.0"
	driverList := []gpu.Device{
		{PCIBusID: first, UUID: "GPU-1", Name: "one"}, {PCIBusID: second, UUID: "GPU-2"},
	}
	devices := []gpu.Device{{Problem: "lost"}, {PCIBusID: second, Name: "two"}}
	fillFrom(driverList, devices)
	want := []gpu.Device{
		{PCIBusID: first, UUID: "GPU-1", Name: "one", Problem: "lost"},
		{PCIBusID: second, UUID: "GPU-2", Name: "two"},
	}
	if diff := cmp.Diff(want, devices); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	ambiguous := []gpu.Device{{Problem: "lost"}}
	fillFrom(driverList, ambiguous)
	if ambiguous[0].UUID != "" {
		t.Error("a device that could be either of two was given the UUID of one")
	}
}

func TestCPUList(t *testing.T) {
	for want, words := range map[string][]uint64{
		"":           nil,
		"0":          {1},
		"0-15,64-79": {0xffff, 0xffff},
		"63-64":      {1 << 63, 1},
		"1,3,127":    {0b1010, 1 << 63},
		"0-127":      {1<<64 - 1, 1<<64 - 1},
	} {
		if got := cpuList(words); got != want {
			t.Errorf("cpuList(%x) = %q, want %q", words, got, want)
		}
	}
}
