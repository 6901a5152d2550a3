//go:build linux && !nonvml

package nvml

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/gpulaunch/gpulaunch/gpu/nvml/nvmltest"
)

// expectedFacts returns what a device of a current driver has to answer.
func expectedFacts(d nvmltest.Device) facts {
	f := facts{
		"name": d.Name,
		"uuid": d.UUID,
		"pci": PCIInfo{
			BusID:  fmt.Sprintf("%04x:%02x:%02x.0", d.Domain, d.Bus, d.Slot),
			Domain: d.Domain, Bus: d.Bus, Device: d.Slot, VendorDevice: d.PCIDevice,
		},
		"minor":        d.Minor,
		"memory":       MemoryInfo(d.Memory),
		"utilization":  [2]uint32{d.GPUUtilization, d.MemoryUtilization},
		"temperature":  d.Temperature,
		"power usage":  d.PowerUsage,
		"power limit":  d.PowerLimit,
		"compute mode": ComputeMode(d.ComputeMode),
		"mig":          [2]bool{d.MIG, d.MIGPending},
		"cpus":         d.CPUs,
		"processes":    []Process(nil),
		"max SM clock": d.MaxSMClock,
		"cores":        d.Cores,
	}
	for domain, name := range clockNames {
		f[name] = d.Clocks[domain]
	}
	return f
}

func TestEightGPUs(t *testing.T) {
	m := eightGPUs()
	m.Devices[2].Domain = 0x10000
	m.Devices[3].Temperature = -5
	m.Devices[3].ComputeMode = 3
	m.Devices[5].CPUs = []uint64{0, 1 << 63, 5}
	lib := start(t, m)

	got := facts{}
	add(got, "driver", lib.DriverVersion)
	add(got, "NVML", lib.NVMLVersion)
	add(got, "CUDA", lib.CUDADriverVersion)
	add(got, "count", lib.DeviceCount)
	want := facts{
		"driver": m.DriverVersion, "NVML": m.NVMLVersion, "CUDA": m.CUDAVersion, "count": 8,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("library (-want +got):\n%s", diff)
	}
	for i, d := range m.Devices {
		if diff := cmp.Diff(expectedFacts(d), deviceFacts(device(t, lib, i))); diff != "" {
			t.Errorf("device %d (-want +got):\n%s", i, diff)
		}
	}
}

func TestComputeModeNames(t *testing.T) {
	for mode, want := range map[ComputeMode]string{
		0: "default", 1: "exclusive-thread", 2: "prohibited", 3: "exclusive-process",
		4: "unknown (4)",
	} {
		if got := mode.String(); got != want {
			t.Errorf("mode %d is called %q, want %q", uint32(mode), got, want)
		}
	}
}

func TestIndexOutOfRange(t *testing.T) {
	lib := start(t, eightGPUs())
	for _, i := range []int{8, -1} {
		if _, err := lib.Device(i); !errors.Is(err, ErrInvalidArgument) {
			t.Errorf("Device(%d) gives %v, want ErrInvalidArgument", i, err)
		}
	}
}

func TestLostGPU(t *testing.T) {
	lib := start(t, eightGPUs().LostGPU(3))
	if n, err := lib.DeviceCount(); n != 8 || err != nil {
		t.Errorf("DeviceCount() = %d, %v; want 8", n, err)
	}
	if _, err := lib.Device(3); !errors.Is(err, ErrGPUIsLost) {
		t.Errorf("Device(3) gives %v, want ErrGPUIsLost", err)
	}
	if name, err := device(t, lib, 4).Name(); name == "" || err != nil {
		t.Errorf("the name of a healthy GPU is %q, %v", name, err)
	}
}

func TestGPULostLater(t *testing.T) {
	m := eightGPUs()
	path := nvmltest.Install(t, m)
	d := device(t, startLibrary(t, path), 3)
	nvmltest.Change(t, path, m.LostGPU(3))
	for name, value := range deviceFacts(d) {
		if value != ErrGPUIsLost {
			t.Errorf("%s is %v, want ErrGPUIsLost", name, value)
		}
	}
}

func TestOldDrivers(t *testing.T) {
	for name, m := range map[string]nvmltest.Machine{
		"old": eightGPUs().OldDriver(), "ancient": eightGPUs().AncientDriver(),
	} {
		t.Run(name, func(t *testing.T) {
			lib := start(t, m)
			if n, err := lib.DeviceCount(); n != 8 || err != nil {
				t.Errorf("DeviceCount() = %d, %v; want 8", n, err)
			}
			if v, err := lib.CUDADriverVersion(); v != 9000 || err != nil {
				t.Errorf("CUDADriverVersion() = %d, %v; want 9000", v, err)
			}
			for i, d := range m.Devices {
				want := expectedFacts(d)
				memory := MemoryInfo(d.Memory)
				memory.Used, memory.Reserved = memory.Used+memory.Reserved, 0
				want["memory"] = memory
				want["cores"] = missingFunctionError("nvmlDeviceGetNumGpuCores")
				want["mig"] = missingFunctionError("nvmlDeviceGetMigMode")
				if diff := cmp.Diff(want, deviceFacts(device(t, lib, i))); diff != "" {
					t.Errorf("device %d (-want +got):\n%s", i, diff)
				}
			}
		})
	}
}

// TestEachMissingSymbol checks that each function may be missing by itself, and that the error
// names it.
func TestEachMissingSymbol(t *testing.T) {
	if testing.Short() {
		return // it builds a library for each function
	}
	for s, name := range symbolNames {
		t.Run(name, func(t *testing.T) {
			lib := openLibrary(t, nvmltest.Install(t, eightGPUs().Without(name)))
			err := lib.call(symbol(s), 0)
			if !errors.Is(err, ErrFunctionNotFound) {
				t.Fatalf("calling it gives %v, want ErrFunctionNotFound", err)
			}
			if !strings.Contains(err.Error(), name) {
				t.Errorf("the error %q does not name the function", err)
			}
		})
	}
}

func TestNewestVersionIsCalled(t *testing.T) {
	m := eightGPUs()
	m.LogCalls = true
	path := nvmltest.Install(t, m)
	deviceFacts(device(t, startLibrary(t, path), 1))
	calls := nvmltest.Calls(t, path)
	for _, call := range []string{
		"nvmlInitWithFlags", "nvmlDeviceGetHandleByIndex_v2 1", "nvmlDeviceGetPciInfo_v3 1",
		"nvmlDeviceGetMemoryInfo_v2 1", "nvmlDeviceGetTemperatureV 1",
		"nvmlDeviceGetComputeRunningProcesses_v3 1", "nvmlDeviceGetCpuAffinityWithinScope 1",
	} {
		if !slices.Contains(calls, call) {
			t.Errorf("%s was not called", call)
		}
	}
	for _, call := range []string{
		"nvmlInit", "nvmlInit_v2", "nvmlDeviceGetMemoryInfo 1", "nvmlDeviceGetTemperature 1",
	} {
		if slices.Contains(calls, call) {
			t.Errorf("%s was called", call)
		}
	}
}

// TestStructVersionRefused has a library that no longer knows the version of a struct.
func TestStructVersionRefused(t *testing.T) {
	m := eightGPUs().With(
		nvmltest.Fail(25).In("nvmlDeviceGetMemoryInfo_v2"),
		nvmltest.Fail(25).In("nvmlDeviceGetTemperatureV"),
	)
	d := device(t, start(t, m), 0)
	memory, err := d.Memory()
	if want := m.Devices[0].Memory.Total; memory.Total != want || err != nil {
		t.Errorf("Memory() = %+v, %v; want %d in total", memory, err, want)
	}
	if celsius, err := d.Temperature(); celsius != 30 || err != nil {
		t.Errorf("Temperature() = %d, %v; want 30", celsius, err)
	}
}

func TestTextWithoutNUL(t *testing.T) {
	m := eightGPUs().With(
		nvmltest.Garbage.InDevice("nvmlDeviceGet*", 0), nvmltest.Garbage.In("nvmlSystem*"),
	)
	lib := start(t, m)
	d := device(t, lib, 0)
	for name, test := range map[string]struct {
		get  func() (string, error)
		size int
	}{
		"Name": {d.Name, deviceTextSize}, "UUID": {d.UUID, deviceTextSize},
		"DriverVersion": {lib.DriverVersion, versionSize},
		"NVMLVersion":   {lib.NVMLVersion, versionSize},
	} {
		s, err := test.get()
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if len(s) != test.size {
			t.Errorf("%s has %d bytes, want %d", name, len(s), test.size)
		}
		if want := strings.Repeat("?", 31) + " !\"#"; !strings.HasPrefix(s, want) {
			t.Errorf("%s is %q, want it to begin with %q", name, s, want)
		}
	}
}

func TestTextIsCleaned(t *testing.T) {
	m := eightGPUs()
	m.Devices[0].Name = "bad\n\x1b[31m\xff 100%"
	name, err := device(t, start(t, m), 0).Name()
	if want := "bad??[31m? 100%"; name != want || err != nil {
		t.Errorf("Name() = %q, %v; want %q", name, err, want)
	}
}

func TestAffinity(t *testing.T) {
	refused := nvmltest.EightGPUs(node0, nil).
		With(nvmltest.Fail(7).InDevice("nvmlDeviceGetCpuAffinity*", 0))
	wide := make([]uint64, 2*cpuWords-1)
	wide[len(wide)-1] = 1
	for name, test := range map[string]struct {
		machine nvmltest.Machine
		want    []uint64
		err     error
	}{
		"not supported":   {machine: nvmltest.EightGPUs(nil, nil), err: ErrNotSupported},
		"more than usual": {machine: nvmltest.EightGPUs(wide, nil), want: wide},
		"never enough":    {machine: refused, err: ErrInsufficientSize},
		"empty":           {machine: nvmltest.EightGPUs([]uint64{0, 0}, nil), want: []uint64{}},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := device(t, start(t, test.machine), 0).CPUAffinityWithinNUMA()
			if !errors.Is(err, test.err) {
				t.Errorf("the error is %v, want %v", err, test.err)
			}
			if !slices.Equal(got, test.want) {
				t.Errorf("the CPUs are %x, want %x", got, test.want)
			}
		})
	}
}
