//go:build linux

package doctor

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/gpulaunch/gpulaunch/gpu"
)

// machineRoot returns a folder with files that stands for a machine.
func machineRoot(t *testing.T, files map[string]string) (root string) {
	t.Helper()
	root = t.TempDir()
	for name, text := range files {
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

func TestGatherLive(t *testing.T) {
	f := Gather(Given{Environ: os.Environ()})
	if f.TopologyErr != nil || f.Topology.Allowed.IsEmpty() || f.KernelErr != nil ||
		f.PidfdErr != nil || f.QuotaErr != nil {
		t.Errorf("%+v", f)
	}
	var name unix.Utsname
	if err := unix.Uname(&name); err != nil || f.Kernel != unix.ByteSliceToString(name.Release[:]) {
		t.Errorf("kernel %q, %v", f.Kernel, err)
	}
	for _, l := range []Limit{f.LockedMemory, f.OpenFiles, f.Processes} {
		if l.Err != nil || l.Soft == 0 || l.Soft > l.Hard {
			t.Errorf("limit %+v", l)
		}
	}
	if f.Temporary.Err != nil {
		t.Errorf("%+v", f.Temporary)
	}
}

func TestGatherRoot(t *testing.T) {
	minor := 0
	root := machineRoot(t, map[string]string{
		"proc/driver/nvidia/version": "NVRM version: NVIDIA UNIX x86_64 Kernel " +
			"Module  550.54.15  Tue\n",
		"sys/bus/pci/devices/0000:1b:00.0/vendor":   "0x10de\n",
		"sys/bus/pci/devices/0000:1b:00.0/class":    "0x030200\n",
		"sys/bus/pci/devices/0000:1c:00.0/vendor":   "0x10de\n",
		"sys/bus/pci/devices/0000:1c:00.0/class":    "0x068000\n", // an NVSwitch
		"sys/bus/pci/devices/0000:00:02.0/vendor":   "0x8086\n",
		"sys/bus/pci/devices/0000:00:02.0/class":    "0x030000\n",
		"sys/bus/pci/devices/0000:00:03.0/vendor":   "0x15b3\n",
		"sys/class/infiniband/mlx5_0/ports/1/state": "4: ACTIVE\n",
		"dev/nvidiactl": "", "dev/nvidia0": "",
	})
	inv := gpu.Inventory{Source: gpu.SourceNVML,
		Devices: []gpu.Device{{Minor: &minor, PCIBusID: "0000:1b:00.0"}}}
	f := Gather(Given{Root: root, Inventory: inv, Visible: inv.Visible("", false)})
	if !f.DriverPresent || f.WSL || f.Module != "550.54.15" ||
		!slices.Equal(f.OnBus, []string{"0000:1b:00.0"}) || len(f.NICs) != 1 {
		t.Errorf("%+v", f)
	}
	var paths []string
	for _, file := range f.Files {
		paths = append(paths, file.Path)
		if missing := file.Path == "/dev/nvidia-uvm"; missing != errors.Is(file.Access,
			fs.ErrNotExist) || !missing && file.Access != nil {
			t.Errorf("%+v", file)
		}
	}
	if strings.Join(paths, " ") != "/dev/nvidiactl /dev/nvidia-uvm /dev/nvidia0" {
		t.Errorf("%q", paths)
	}
	if !isMissing(f.SharedMemory.Err) || f.TopologyErr == nil {
		t.Errorf("what is not there was found: %+v, %v", f.SharedMemory, f.TopologyErr)
	}
}

func TestGatherOddities(t *testing.T) {
	root := machineRoot(t, map[string]string{"proc/driver/nvidia/version": "odd\n", "dev/dxg": ""})
	f := Gather(Given{Root: root, Environ: []string{"TMPDIR=" + root + "/none"}})
	if f.ModuleErr == nil || isMissing(f.ModuleErr) || f.Temporary.Err == nil {
		t.Errorf("%v, %v", f.ModuleErr, f.Temporary.Err)
	}
	if len(f.Files) != 1 || f.Files[0].Path != "/dev/dxg" {
		t.Errorf("%+v", f.Files)
	}
}

func TestTemporaryLeavesNothing(t *testing.T) {
	dir := t.TempDir()
	if got := tryTemporary(dir); got.Err != nil || got.Disk.Err != nil || got.Disk.SizeBytes == 0 {
		t.Errorf("%+v", got)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 0 {
		t.Errorf("%v, %v", left, err)
	}
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if got := tryTemporary(file); got.Err == nil {
		t.Error("a folder was made in a file")
	}
}
