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

// facts is everything that one device told, or the error text in place of what it did not.
type facts map[string]any

func factsOf(d Device) facts {
	f := facts{}
	put := func(name string, value any, err error) {
		if err != nil {
			value = err.Error()
		}
		f[name] = value
	}
	name, err := d.Name()
	put("name", name, err)
	uuid, err := d.UUID()
	put("uuid", uuid, err)
	pci, err := d.PCI()
	put("pci", pci, err)
	minor, err := d.MinorNumber()
	put("minor", minor, err)
	index, err := d.Index()
	put("index", index, err)
	memory, err := d.Memory()
	put("memory", memory, err)
	gpu, mem, err := d.Utilization()
	put("utilization", [2]uint32{gpu, mem}, err)
	temperature, err := d.Temperature()
	put("temperature", temperature, err)
	usage, err := d.PowerUsage()
	put("power usage", usage, err)
	limit, err := d.PowerLimit()
	put("power limit", limit, err)
	for _, domain := range []ClockType{ClockGraphics, ClockSM, ClockMemory} {
		clock, err := d.Clock(domain)
		put(fmt.Sprintf("clock %d", domain), clock, err)
	}
	mode, err := d.ComputeMode()
	put("compute mode", mode.String(), err)
	mig, pending, err := d.MIGMode()
	put("mig", [2]bool{mig, pending}, err)
	cpus, err := d.CPUAffinityWithinNUMA()
	put("cpus", cpus, err)
	processes, err := d.ComputeProcesses()
	put("processes", processes, err)
	return f
}

// expected is what a device of a current driver must tell.
func expected(i int, d nvmltest.Device) facts {
	f := facts{
		"name": d.Name,
		"uuid": d.UUID,
		"pci": PCIInfo{
			BusID:  fmt.Sprintf("%04x:%02x:%02x.0", d.Domain, d.Bus, d.Slot),
			Domain: d.Domain, Bus: d.Bus, Device: d.Slot, VendorDevice: d.PCIDevice,
		},
		"minor":        d.Minor,
		"index":        i,
		"memory":       MemoryInfo(d.Memory),
		"utilization":  [2]uint32{d.GPUUtilization, d.MemoryUtilization},
		"temperature":  d.Temperature,
		"power usage":  d.PowerUsage,
		"power limit":  d.PowerLimit,
		"compute mode": ComputeMode(d.ComputeMode).String(),
		"mig":          [2]bool{d.MIG, d.MIGPending},
		"cpus":         d.CPUs,
		"processes":    []Process(nil),
	}
	for domain, clock := range d.Clocks {
		f[fmt.Sprintf("clock %d", domain)] = clock
	}
	return f
}

func TestEightGPUs(t *testing.T) {
	m := nvmltest.EightGPUs(node0, node1)
	m.Devices[2].Domain = 0x10000
	m.Devices[3].Temperature = -5
	m.Devices[3].ComputeMode = 3
	m.Devices[5].CPUs = []uint64{0, 1 << 63, 5}
	lib := start(t, m)

	driver, err := lib.DriverVersion()
	if driver != m.DriverVersion || err != nil {
		t.Errorf("DriverVersion = %q, %v", driver, err)
	}
	version, err := lib.NVMLVersion()
	if version != m.NVMLVersion || err != nil {
		t.Errorf("NVMLVersion = %q, %v", version, err)
	}
	cuda, err := lib.CUDADriverVersion()
	if cuda != m.CUDAVersion || err != nil {
		t.Errorf("CUDADriverVersion = %d, %v", cuda, err)
	}
	n, err := lib.DeviceCount()
	if n != 8 || err != nil {
		t.Fatalf("DeviceCount = %d, %v", n, err)
	}
	for i, want := range m.Devices {
		if diff := cmp.Diff(expected(i, want), factsOf(device(t, lib, i))); diff != "" {
			t.Errorf("device %d (-want +got):\n%s", i, diff)
		}
	}
}

func TestDeviceByUUID(t *testing.T) {
	m := nvmltest.EightGPUs(node0, node1)
	lib := start(t, m)
	d, err := lib.DeviceByUUID(m.Devices[6].UUID)
	if err != nil {
		t.Fatal(err)
	}
	if i, err := d.Index(); i != 6 || err != nil {
		t.Errorf("Index = %d, %v; want 6", i, err)
	}
	if _, err := lib.DeviceByUUID("GPU-nobody"); !errors.Is(err, ErrNotFound) {
		t.Errorf("unknown UUID: %v", err)
	}
}

func TestIndexOutOfRange(t *testing.T) {
	lib := start(t, nvmltest.EightGPUs(node0, node1))
	for _, i := range []int{8, -1} {
		if _, err := lib.Device(i); !errors.Is(err, ErrInvalidArgument) {
			t.Errorf("Device(%d): %v", i, err)
		}
	}
}

func TestLostGPU(t *testing.T) {
	lib := start(t, nvmltest.EightGPUs(node0, node1).LostGPU(3))
	if n, err := lib.DeviceCount(); n != 8 || err != nil {
		t.Errorf("DeviceCount = %d, %v", n, err)
	}
	if _, err := lib.Device(3); !errors.Is(err, ErrGPUIsLost) {
		t.Errorf("Device(3): %v", err)
	}
	if name, err := device(t, lib, 4).Name(); name == "" || err != nil {
		t.Errorf("healthy GPU: name %q, %v", name, err)
	}
}

func TestGPULostLater(t *testing.T) {
	m := nvmltest.EightGPUs(node0, node1)
	path := nvmltest.Install(t, m)
	lib := open1(t, path)
	if err := lib.Init(); err != nil {
		t.Fatal(err)
	}
	d := device(t, lib, 3)
	nvmltest.Change(t, path, m.LostGPU(3))
	for name, value := range factsOf(d) {
		if value != ErrGPUIsLost.Error() {
			t.Errorf("%s = %v", name, value)
		}
	}
}

func TestOldDrivers(t *testing.T) {
	eight := nvmltest.EightGPUs(node0, node1)
	for name, m := range map[string]nvmltest.Machine{"old": eight.OldDriver(), "ancient": eight.AncientDriver()} {
		t.Run(name, func(t *testing.T) {
			lib := start(t, m)
			if n, err := lib.DeviceCount(); n != 8 || err != nil {
				t.Errorf("DeviceCount = %d, %v", n, err)
			}
			if v, err := lib.CUDADriverVersion(); v != 9000 || err != nil {
				t.Errorf("CUDADriverVersion = %d, %v", v, err)
			}
			for i, d := range m.Devices {
				want := expected(i, d)
				want["memory"] = MemoryInfo{Total: d.Memory.Total, Free: d.Memory.Free, Used: d.Memory.Used + d.Memory.Reserved}
				want["mig"] = missingFunctionError("nvmlDeviceGetMigMode").Error()
				if diff := cmp.Diff(want, factsOf(device(t, lib, i))); diff != "" {
					t.Errorf("device %d (-want +got):\n%s", i, diff)
				}
			}
		})
	}
}

// Each function may be missing alone, and whatever is missing is told by name.
func TestEachMissingSymbol(t *testing.T) {
	if testing.Short() {
		t.Skip("builds a library per function")
	}
	for s, name := range symbolNames {
		t.Run(name, func(t *testing.T) {
			lib := open1(t, nvmltest.Install(t, nvmltest.EightGPUs(node0, node1).Without(name)))
			err := lib.call(symbol(s), 0)
			if !errors.Is(err, ErrFunctionNotFound) || !strings.Contains(err.Error(), name) {
				t.Errorf("calling it: %v", err)
			}
		})
	}
}

func TestNewestVersionIsCalled(t *testing.T) {
	m := nvmltest.EightGPUs(node0, node1)
	m.LogCalls = true
	path := nvmltest.Install(t, m)
	lib := open1(t, path)
	if err := lib.Init(); err != nil {
		t.Fatal(err)
	}
	d := device(t, lib, 1)
	factsOf(d)
	calls := nvmltest.Calls(t, path)
	for _, call := range []string{
		"nvmlInitWithFlags", "nvmlDeviceGetHandleByIndex_v2 1", "nvmlDeviceGetPciInfo_v3 1", "nvmlDeviceGetMemoryInfo_v2 1",
		"nvmlDeviceGetTemperatureV 1", "nvmlDeviceGetComputeRunningProcesses_v3 1", "nvmlDeviceGetCpuAffinityWithinScope 1",
	} {
		if !slices.Contains(calls, call) {
			t.Errorf("%s was not called", call)
		}
	}
	for _, call := range []string{"nvmlInit", "nvmlInit_v2", "nvmlDeviceGetMemoryInfo 1", "nvmlDeviceGetTemperature 1"} {
		if slices.Contains(calls, call) {
			t.Errorf("%s was called", call)
		}
	}
}

// A newer library may refuse the version of a struct that it once knew.
func TestStructVersionRefused(t *testing.T) {
	m := nvmltest.EightGPUs(node0, node1).With(
		nvmltest.Behavior{Function: "nvmlDeviceGetMemoryInfo_v2", Device: nvmltest.AllDevices, Action: nvmltest.Fail(25)},
		nvmltest.Behavior{Function: "nvmlDeviceGetTemperatureV", Device: nvmltest.AllDevices, Action: nvmltest.Fail(25)},
	)
	d := device(t, start(t, m), 0)
	if memory, err := d.Memory(); memory.Total != m.Devices[0].Memory.Total || err != nil {
		t.Errorf("Memory = %+v, %v", memory, err)
	}
	if celsius, err := d.Temperature(); celsius != 30 || err != nil {
		t.Errorf("Temperature = %d, %v", celsius, err)
	}
}

func TestTextWithoutNUL(t *testing.T) {
	m := nvmltest.EightGPUs(node0, node1).With(
		nvmltest.Behavior{Function: "nvmlDeviceGet*", Device: 0, Action: nvmltest.Garbage},
		nvmltest.Behavior{Function: "nvmlSystem*", Device: nvmltest.AllDevices, Action: nvmltest.Garbage},
	)
	lib := start(t, m)
	d := device(t, lib, 0)
	for name, get := range map[string]func() (string, error){
		"Name": d.Name, "UUID": d.UUID, "DriverVersion": lib.DriverVersion, "NVMLVersion": lib.NVMLVersion,
	} {
		s, err := get()
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		size := deviceTextSize
		if strings.HasSuffix(name, "Version") {
			size = versionSize
		}
		if want := strings.Repeat("?", 31) + " !\"#"; len(s) != size || !strings.HasPrefix(s, want) {
			t.Errorf("%s = %q (%d bytes)", name, s, len(s))
		}
	}
}

func TestTextIsCleaned(t *testing.T) {
	m := nvmltest.EightGPUs(node0, node1)
	m.Devices[0].Name = "bad\n\x1b[31m\xff 100%"
	if name, err := device(t, start(t, m), 0).Name(); name != "bad??[31m? 100%" || err != nil {
		t.Errorf("Name = %q, %v", name, err)
	}
}

func TestAffinity(t *testing.T) {
	affinity := func(code int) nvmltest.Behavior {
		return nvmltest.Behavior{Function: "nvmlDeviceGetCpuAffinity*", Device: 0, Action: nvmltest.Fail(code)}
	}
	wide := make([]uint64, 2*cpuWords-1)
	wide[len(wide)-1] = 1
	tests := map[string]struct {
		machine nvmltest.Machine
		want    []uint64
		err     error
	}{
		"not supported":     {machine: nvmltest.EightGPUs(nil, nil), err: ErrNotSupported},
		"more than usual":   {machine: nvmltest.EightGPUs(wide, nil), want: wide},
		"never enough room": {machine: nvmltest.EightGPUs(node0, nil).With(affinity(7)), err: ErrInsufficientSize},
		"empty":             {machine: nvmltest.EightGPUs([]uint64{0, 0}, nil), want: []uint64{}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := device(t, start(t, test.machine), 0).CPUAffinityWithinNUMA()
			if !errors.Is(err, test.err) || !slices.Equal(got, test.want) {
				t.Errorf("got %x, %v; want %x, %v", got, err, test.want, test.err)
			}
		})
	}
}
