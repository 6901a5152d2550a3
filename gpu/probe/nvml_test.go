//go:build linux && !nonvml

package probe

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/gpulaunch/gpulaunch/gpu"
	"github.com/gpulaunch/gpulaunch/gpu/gputest"
	"github.com/gpulaunch/gpulaunch/gpu/nvml/nvmltest"
)

// eight is the machine that the others here are made from.
func eight() nvmltest.Machine {
	return nvmltest.EightGPUs([]uint64{0xffff, 0xffff}, []uint64{0xffff_0000, 0xffff_0000})
}

// installed gives options with which the machine's library is found, and that machine's driver files with it.
func installed(t testing.TB, m nvmltest.Machine) Options {
	t.Helper()
	return Options{Library: nvmltest.Install(t, m), Root: filesOf(t, m)}
}

func filesOf(t testing.TB, m nvmltest.Machine) string {
	t.Helper()
	files := map[string]string{}
	for _, d := range m.Devices {
		address := addressOf(d)
		files[address] = information(d.UUID, address, fmt.Sprint(d.Minor))
	}
	return driverRoot(t, files)
}

func addressOf(d nvmltest.Device) string {
	return fmt.Sprintf("%04x:%02x:%02x.0", d.Domain, d.Bus, d.Slot)
}

func TestDiscoverEightGPUs(t *testing.T) {
	m := eight()
	o := installed(t, m)
	inv := discover(t, o)
	reasonHas(t, inv, gpu.SourceNVML, "NVML 12.550.54.15 from "+inv.Library)
	if inv.DriverVersion != "550.54.15" || inv.NVMLVersion != "12.550.54.15" || inv.CUDAVersion != "12.4" || filepath.Base(inv.Library) != "libnvidia-ml.so.1" {
		t.Errorf("versions %+v", inv)
	}
	var want []gpu.Device
	for i, d := range m.Devices {
		cpus := "0-15,64-79"
		if i >= 4 {
			cpus = "16-31,80-95"
		}
		want = append(want, gpu.Device{Index: i, UUID: d.UUID, Name: d.Name, PCIBusID: addressOf(d), Minor: &d.Minor,
			MemoryTotalBytes: d.Memory.Total, CPUAffinity: cpus, ComputeMode: "default", ECC: new(true), Persistence: new(true)})
	}
	if diff := cmp.Diff(want, inv.Devices); diff != "" {
		t.Error(diff)
	}
}

// TestDiscoverSorts gives NVML an order of its own. The samples have to follow the inventory.
func TestDiscoverSorts(t *testing.T) {
	m := eight()
	slices.Reverse(m.Devices)
	p := openProbe(t, installed(t, m))
	inv, sample := p.Inventory(), p.Sample()
	for i, d := range inv.Devices {
		real := m.Devices[7-i]
		if d.Index != i || d.UUID != real.UUID {
			t.Errorf("device %d is %+v", i, d)
		}
		if s := sample.Devices[i]; s.Index != i || s.UUID != d.UUID || *s.MemoryUsedBytes != real.Memory.Used {
			t.Errorf("sample %d is %+v", i, s)
		}
	}
}

func TestDiscoverLostGPU(t *testing.T) {
	m := eight().LostGPU(3)
	p := openProbe(t, installed(t, m))
	inv, sample := p.Inventory(), p.Sample()
	reasonHas(t, inv, gpu.SourceNVML)
	if len(inv.Devices) != 8 || len(sample.Devices) != 8 {
		t.Fatalf("%d devices, %d samples", len(inv.Devices), len(sample.Devices))
	}
	for i, d := range inv.Devices {
		if d.Index != i || d.UUID != m.Devices[i].UUID || d.PCIBusID != addressOf(m.Devices[i]) {
			t.Errorf("device %d is %+v", i, d)
		}
		want := ""
		if i == 3 {
			want = "GPU is lost (code 15)"
		}
		if d.Problem != want || sample.Devices[i].Problem != want {
			t.Errorf("problem of %d: %q, %q; want %q", i, d.Problem, sample.Devices[i].Problem, want)
		}
		if (sample.Devices[i].MemoryUsedBytes == nil) != (i == 3) {
			t.Errorf("figures of %d: %+v", i, sample.Devices[i])
		}
	}
	if v := inv.Visible("", false); len(v.Units) != 7 || len(v.Unusable) != 1 || v.Units[3].ID != m.Devices[4].UUID {
		t.Errorf("units %s", gputest.IDs(v))
	}
}

// TestDiscoverLostGPUWithoutFiles has nobody who could say which one is lost.
func TestDiscoverLostGPUWithoutFiles(t *testing.T) {
	o := Options{Library: nvmltest.Install(t, eight().LostGPU(3)), Root: t.TempDir()}
	d := discover(t, o).Devices[3]
	if d.Index != 3 || d.PCIBusID != "" || d.Usable() {
		t.Errorf("got %+v", d)
	}
}

// TestGPULostLater loses a GPU whose handle is already there.
func TestGPULostLater(t *testing.T) {
	m := eight()
	o := installed(t, m)
	p := openProbe(t, o)
	p.Inventory()
	nvmltest.Change(t, o.Library, m.With(nvmltest.Behavior{Function: "nvmlDeviceGet*", Device: 2, Action: nvmltest.Fail(15)}))
	for i, s := range p.Sample().Devices {
		if (s.Problem != "") != (i == 2) || (s.MemoryUsedBytes == nil) != (i == 2) {
			t.Errorf("sample %d: %+v", i, s)
		}
	}
	if d := p.Inventory().Devices[2]; d.Usable() || d.UUID != m.Devices[2].UUID {
		t.Errorf("inventory: %+v", d)
	}
}

func TestDiscoverOldDrivers(t *testing.T) {
	for _, m := range []nvmltest.Machine{eight().OldDriver(), eight().AncientDriver()} {
		inv := discover(t, installed(t, m))
		reasonHas(t, inv, gpu.SourceNVML, "NVML 9.384.183")
		if len(inv.Devices) != 8 || inv.CUDAVersion != "9.0" {
			t.Errorf("got %+v", inv)
		}
		for i, d := range inv.Devices {
			if !d.Usable() || d.UUID != m.Devices[i].UUID || d.MemoryTotalBytes == 0 || d.PCIBusID != addressOf(m.Devices[i]) {
				t.Errorf("device %d: %+v", i, d)
			}
		}
	}
}

func TestDiscoverLibraryDoesNotStart(t *testing.T) {
	inv := discover(t, installed(t, eight().FailsToStart()))
	reasonHas(t, inv, gpu.SourceDriver, "did not start: library and driver have different versions (code 18)", "reload the driver", "; using the driver's files")
	if len(inv.Devices) != 8 {
		t.Errorf("%d devices", len(inv.Devices))
	}
}

// TestProbeRetriesStart repairs the library while the probe is there.
func TestProbeRetriesStart(t *testing.T) {
	o := installed(t, eight().FailsToStart())
	p := openProbe(t, o)
	reasonHas(t, p.Inventory(), gpu.SourceDriver)
	if s := p.Sample(); !strings.Contains(s.Error, "did not start") || s.Devices == nil {
		t.Errorf("sample %+v", s)
	}
	nvmltest.Change(t, o.Library, eight())
	reasonHas(t, p.Inventory(), gpu.SourceNVML)
	if s := p.Sample(); s.Error != "" || len(s.Devices) != 8 {
		t.Errorf("sample %+v", s)
	}
}

func TestDiscoverNVMLListsNone(t *testing.T) {
	m := eight()
	root := filesOf(t, m)
	m.Devices = nil
	inv := discover(t, Options{Library: nvmltest.Install(t, m), Root: root})
	reasonHas(t, inv, gpu.SourceDriver, "works but lists no GPU; using the driver's files")
	if len(inv.Devices) != 8 {
		t.Errorf("%d devices", len(inv.Devices))
	}
}

func TestDiscoverCannotCount(t *testing.T) {
	m := eight().With(nvmltest.Behavior{Function: "nvmlDeviceGetCount*", Device: nvmltest.AllDevices, Action: nvmltest.Fail(999)})
	p := openProbe(t, installed(t, m))
	reasonHas(t, p.Inventory(), gpu.SourceDriver, "could not count the GPUs: unknown error (code 999)")
	if s := p.Sample(); !strings.Contains(s.Error, "could not count") {
		t.Errorf("sample %+v", s)
	}
}

// TestDiscoverSayNothing makes each question about a device fail in turn: the rest must not suffer.
func TestDiscoverSayNothing(t *testing.T) {
	for _, function := range []string{"Name", "UUID", "PciInfo*", "MinorNumber", "MemoryInfo*", "CpuAffinity*", "ComputeMode", "MigMode"} {
		m := eight().With(nvmltest.Behavior{Function: "nvmlDeviceGet" + function, Device: 5, Action: nvmltest.Fail(3)})
		inv := discover(t, installed(t, m))
		if len(inv.Devices) != 8 || inv.Source != gpu.SourceNVML {
			t.Fatalf("without %s: %+v", function, inv)
		}
		for i, d := range inv.Devices {
			if !d.Usable() || d.UUID != m.Devices[i].UUID {
				t.Errorf("without %s: %+v", function, d)
			}
		}
	}
}

func TestDiscoverGarbage(t *testing.T) {
	m := eight().With(nvmltest.Behavior{Function: "*", Device: nvmltest.AllDevices, Action: nvmltest.Garbage})
	inv := discover(t, installed(t, m))
	reasonHas(t, inv, gpu.SourceNVML)
	for i, d := range inv.Devices {
		// The driver's files know better. Where there are none, no UUID is better than a wrong one.
		if d.UUID != m.Devices[i].UUID {
			t.Errorf("device %d: %+v", i, d)
		}
	}
}

func TestMIG(t *testing.T) {
	m := eight().MIG(2).WithDevice(5, func(d *nvmltest.Device) { d.MIG = true })
	p := openProbe(t, installed(t, m))
	inv, sample := p.Inventory(), p.Sample()
	gi, ci, gi2, ci2 := 2, 0, 9, 1
	first, second := m.Devices[2].Instances[0], m.Devices[2].Instances[2]
	want := []gpu.MIGInstance{
		{UUID: first.UUID, Name: first.Name, Profile: "3g.40gb", MemoryTotalBytes: first.Memory.Total, GPUInstance: &gi, ComputeInstance: &ci},
		{UUID: second.UUID, Name: second.Name, Profile: "1g.10gb", MemoryTotalBytes: second.Memory.Total, GPUInstance: &gi2, ComputeInstance: &ci2},
	}
	if d := inv.Devices[2]; !d.MIG || !d.Usable() || !cmp.Equal(want, d.MIGInstances) {
		t.Errorf("split GPU: %+v\n%s", d, cmp.Diff(want, d.MIGInstances))
	}
	if d := inv.Devices[5]; d.Problem != gpu.ProblemNoInstance {
		t.Errorf("GPU without instances: %+v", d)
	}
	if v := inv.Visible("", false); len(v.Units) != 8 || v.Units[2].ID != first.UUID || v.Units[3].ID != second.UUID {
		t.Errorf("units %s", gputest.IDs(v))
	}
	if v := inv.Visible("MIG-"+m.Devices[2].UUID+"/9/1", true); gputest.IDs(v) != second.UUID {
		t.Errorf("legacy name: %s, %s", gputest.IDs(v), v.Reason)
	}

	if len(sample.Devices) != 10 {
		t.Fatalf("%d samples", len(sample.Devices))
	}
	part := sample.Devices[4]
	if part.UUID != second.UUID || part.ParentUUID != m.Devices[2].UUID || part.Index != 2 || *part.MemoryUsedBytes != second.Memory.Used || part.Utilization != nil {
		t.Errorf("sample of an instance: %+v", part)
	}
	if len(part.Processes) != 1 || part.Processes[0].PID != 4002 || part.Processes[0].UsedBytes != nil {
		t.Errorf("its processes: %+v", part.Processes)
	}
}

func TestSample(t *testing.T) {
	m := eight().WithDevice(1, func(d *nvmltest.Device) {
		d.Processes = []nvmltest.Process{{PID: 42, Used: 7 << 30, GPUInstance: nvmltest.NoInstance, ComputeInstance: nvmltest.NoInstance},
			{PID: 43, Used: nvmltest.UnknownMemory, GPUInstance: nvmltest.NoInstance, ComputeInstance: nvmltest.NoInstance}}
	})
	p := openProbe(t, installed(t, m))
	sample := p.Sample() // before any inventory
	if sample.Time.IsZero() || sample.Error != "" || len(sample.Devices) != 8 {
		t.Fatalf("got %+v", sample)
	}
	d := m.Devices[1]
	used := uint64(7 << 30)
	want := gpu.DeviceSample{
		Index: 1, UUID: d.UUID,
		MemoryUsedBytes: &d.Memory.Used, MemoryTotalBytes: &d.Memory.Total,
		Utilization: pointer(0.11), MemoryUtilization: pointer(0.21),
		TemperatureCelsius: pointer(31.0),
		PowerWatts:         pointer(100.001), PowerLimitWatts: pointer(700.001),
		SMClockHertz: pointer(1501e6), MemoryClockHertz: pointer(2620e6),
		Processes: []gpu.ProcessSample{{PID: 42, UsedBytes: &used}, {PID: 43}},
	}
	if diff := cmp.Diff(want, sample.Devices[1]); diff != "" {
		t.Error(diff)
	}
}

func TestSampleLeavesOutWhatIsNotSaid(t *testing.T) {
	m := eight().With(nvmltest.Behavior{Function: "nvmlDeviceGetPowerUsage", Device: 0, Action: nvmltest.Fail(3)},
		nvmltest.Behavior{Function: "nvmlDeviceGetUtilizationRates", Device: 0, Action: nvmltest.Fail(3)})
	m = m.WithDevice(1, func(d *nvmltest.Device) { d.GPUUtilization = 4_000_000_000 })
	devices := openProbe(t, installed(t, m)).Sample().Devices
	if d := devices[0]; d.PowerWatts != nil || d.Utilization != nil || d.PowerLimitWatts == nil || d.Problem != "" {
		t.Errorf("got %+v", d)
	}
	if d := devices[1]; d.Utilization != nil || d.MemoryUtilization == nil {
		t.Errorf("got %+v", d)
	}
}

func TestSampleFollowsDeviceCount(t *testing.T) {
	m := eight()
	o := installed(t, m)
	p := openProbe(t, o)
	p.Inventory()
	for _, n := range []int{5, 8, 0} {
		fewer := m
		fewer.Devices = m.Devices[:n]
		nvmltest.Change(t, o.Library, fewer)
		if s := p.Sample(); len(s.Devices) != n || s.Error != "" {
			t.Errorf("%d samples of %d devices: %s", len(s.Devices), n, s.Error)
		}
	}
}
