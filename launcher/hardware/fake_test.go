//go:build linux

package hardware

import (
	"cmp"
	_ "embed"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/gpulaunch/gpulaunch/gpu/nvml/nvmltest"
	"github.com/gpulaunch/gpulaunch/launcher/launchertest"
)

//go:embed testdata/cuda.c
var cudaSource string

// fakeRig is a rig of GPUs that do not exist: a fake NVML library, a fake nvidia-smi and a fake
// CUDA driver, which describe the same machine.
type fakeRig struct {
	rig
	machine nvmltest.Machine
	folder  string
}

func eight() nvmltest.Machine { return nvmltest.EightGPUs([]uint64{1}, []uint64{1}) }

// newFakeRig builds the fakes for a machine and puts them into PATH until the test ends. The test
// is skipped if there is no C compiler.
func newFakeRig(t *testing.T, m nvmltest.Machine) *fakeRig {
	t.Helper()
	folder := t.TempDir()
	u := &fakeRig{machine: m, folder: folder}
	u.library = nvmltest.InstallIn(t, folder, m)
	u.patience = launchertest.Patience
	self, err := os.Executable()
	if err == nil {
		err = os.Symlink(self, filepath.Join(folder, smiName))
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", folder+":"+os.Getenv("PATH"))
	if u.smi, err = exec.LookPath(smiName); err != nil {
		t.Fatal(err)
	}
	u.setSMI(t, m)
	u.env = u.buildCUDA(t)
	u.showAllocated = func(list []report) { u.allocate(t, list) }
	return u
}

// withPython adds an interpreter for workers. The test is skipped if there is none.
func (u *fakeRig) withPython(t *testing.T) *fakeRig {
	t.Helper()
	u.python = launchertest.Python(t)
	return u
}

// setSMI makes nvidia-smi, but not the other fakes, describe this machine.
func (u *fakeRig) setSMI(t *testing.T, m nvmltest.Machine) {
	t.Helper()
	m.Behaviors = nil // nvidia-smi does not use them, and JSON cannot encode them
	data, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(u.folder, "machine.json")
	if err := os.WriteFile(path+".new", data, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
}

// allocate makes the fakes show that these workers, and no other processes, use memory of their
// GPUs.
func (u *fakeRig) allocate(t *testing.T, list []report) {
	t.Helper()
	m := u.machine
	for i := range m.Devices {
		m = m.WithDevice(i, func(d *nvmltest.Device) {
			for _, rep := range list {
				if rep.UUID == d.UUID {
					d.Memory.Used += rep.Bytes
					d.Processes = append(slices.Clip(d.Processes), nvmltest.Process{
						PID: uint32(rep.PID), Used: rep.Bytes,
						GPUInstance: nvmltest.NoInstance, ComputeInstance: nvmltest.NoInstance,
					})
				}
			}
		})
	}
	nvmltest.Change(t, u.library, m)
	u.setSMI(t, m)
}

// buildCUDA builds the fake CUDA driver, and returns the environment in which workers find it.
func (u *fakeRig) buildCUDA(t *testing.T) []string {
	t.Helper()
	compiler := cmp.Or(os.Getenv("CC"), "cc")
	library := filepath.Join(u.folder, "libcuda.so.1")
	build := exec.Command(compiler, "-std=gnu11", "-O1", "-fPIC", "-shared",
		"-Wall", "-Wextra", "-Werror", "-o", library, "-x", "c", "-")
	build.Stdin = strings.NewReader(cudaSource)
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("cannot build the fake CUDA driver: %v\n%s", err, out)
	}
	u.setCUDA(t, u.machine)
	return []string{
		"LD_LIBRARY_PATH=" + u.folder, "FAKE_CUDA_GPUS=" + filepath.Join(u.folder, "cuda.gpus"),
	}
}

// setCUDA makes the fake CUDA driver, but not the other fakes, have the GPUs of this machine.
func (u *fakeRig) setCUDA(t *testing.T, m nvmltest.Machine) {
	t.Helper()
	var gpus strings.Builder
	for _, d := range m.Devices {
		fmt.Fprintf(&gpus, "%s %04X:%02X:%02X.0 %s\n", d.UUID, d.Domain, d.Bus, d.Slot, d.Name)
	}
	path := filepath.Join(u.folder, "cuda.gpus")
	if err := os.WriteFile(path, []byte(gpus.String()), 0o600); err != nil {
		t.Fatal(err)
	}
}

// fakeSMI is the main function of the fake nvidia-smi. The machine is described by a file in the
// same folder. It knows the queries of the suite, and refuses others as nvidia-smi does.
func fakeSMI(args []string) int {
	data, err := os.ReadFile(filepath.Join(filepath.Dir(os.Args[0]), "machine.json"))
	var m nvmltest.Machine
	if err == nil {
		err = json.Unmarshal(data, &m)
	}
	if err != nil {
		fmt.Println(err)
		return 9 // as nvidia-smi without a driver
	}
	if len(args) == 0 {
		fmt.Printf("| NVIDIA-SMI %s   Driver Version: %s   CUDA Version: %d.%d     |\n",
			m.DriverVersion, m.DriverVersion, m.CUDAVersion/1000, m.CUDAVersion%1000/10)
		return 0
	}
	question, fields, _ := strings.Cut(args[0], "=")
	for i, d := range m.Devices {
		list := []map[string]string{smiDevice(m, i)}
		switch question {
		case "-L":
			fmt.Printf("GPU %d: %s (UUID: %s)\n", i, d.Name, d.UUID)
			continue
		case "--query-compute-apps":
			list = smiProcesses(d)
		}
		for _, values := range list {
			if code := printRow(values, strings.Split(fields, ",")); code != 0 {
				return code
			}
		}
	}
	return 0
}

func printRow(values map[string]string, fields []string) int {
	line := make([]string, len(fields))
	for i, field := range fields {
		value, ok := values[field]
		if !ok {
			fmt.Printf("Field %q is not a valid field to query.\n\n", field)
			return 2
		}
		line[i] = value
	}
	fmt.Println(strings.Join(line, ", "))
	return 0
}

func smiProcesses(d nvmltest.Device) (list []map[string]string) {
	for _, p := range d.Processes {
		list = append(list, map[string]string{"gpu_uuid": d.UUID, "pid": fmt.Sprint(p.PID)})
	}
	return list
}

func smiDevice(m nvmltest.Machine, i int) map[string]string {
	d := m.Devices[i]
	enabled := func(known, on bool) string {
		switch {
		case !known:
			return "[N/A]"
		case on:
			return "Enabled"
		}
		return "Disabled"
	}
	h := d.Health
	persistent := h.Persistence != nil && *h.Persistence
	modes := []string{"Default", "Exclusive_Thread", "Prohibited", "Exclusive_Process"}
	return map[string]string{
		"index": fmt.Sprint(i), "name": d.Name, "uuid": d.UUID, "driver_version": m.DriverVersion,
		"pci.bus_id":           fmt.Sprintf("%08X:%02X:%02X.0", d.Domain, d.Bus, d.Slot),
		"memory.total":         fmt.Sprint(d.Memory.Total >> 20),
		"memory.used":          fmt.Sprint(d.Memory.Used >> 20),
		"compute_mode":         modes[d.ComputeMode],
		"persistence_mode":     enabled(h.Persistence != nil, persistent),
		"ecc.mode.current":     enabled(h.ECCMode != nil, h.ECCMode != nil && h.ECCMode.Current),
		"mig.mode.current":     enabled(d.MIGCapable, d.MIG),
		"utilization.gpu":      fmt.Sprint(d.GPUUtilization),
		"temperature.gpu":      fmt.Sprint(d.Temperature),
		"power.draw":           watts(d.PowerUsage),
		"enforced.power.limit": watts(d.PowerLimit),
		"clocks.sm":            fmt.Sprint(d.Clocks[1]),
		"clocks.mem":           fmt.Sprint(d.Clocks[2]),
	}
}

func watts(milliwatts uint32) string { return fmt.Sprintf("%.2f", float64(milliwatts)/1000) }
