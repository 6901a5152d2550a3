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

const noInstance = nvmltest.NoInstance

// eightGPUs returns the machine from which the tests make others.
func eightGPUs() nvmltest.Machine {
	return nvmltest.EightGPUs([]uint64{0xffff, 0xffff}, []uint64{0xffff_0000, 0xffff_0000})
}

// install returns options that name a library that serves the machine, and its driver's files.
func install(t testing.TB, m nvmltest.Machine) Options {
	t.Helper()
	return Options{Library: nvmltest.Install(t, m), Root: driverFilesOf(t, m)}
}

// driverFilesOf returns a root folder with the files of the machine's driver.
func driverFilesOf(t testing.TB, m nvmltest.Machine) string {
	t.Helper()
	files := map[string]string{}
	for _, d := range m.Devices {
		address := addressOf(d)
		files[address] = information(d.UUID, address, fmt.Sprint(d.Minor))
	}
	return writeDriverFiles(t, files)
}

func addressOf(d nvmltest.Device) string {
	return fmt.Sprintf("%04x:%02x:%02x.0", d.Domain, d.Bus, d.Slot)
}

// checkCount fails the test unless there are as many devices as wanted. The tests that index
// devices end then.
func checkCount[T any](t *testing.T, devices []T, want int) {
	t.Helper()
	if len(devices) != want {
		t.Fatalf("%d devices, want %d", len(devices), want)
	}
}

func TestDiscoverEightGPUs(t *testing.T) {
	m := eightGPUs()
	o := install(t, m)
	inv := discover(t, o)
	checkReason(t, inv, gpu.SourceNVML, "NVML 12.550.54.15 from "+inv.Library)
	for what, test := range map[string]struct{ got, want string }{
		"driver":  {inv.DriverVersion, "550.54.15"},
		"NVML":    {inv.NVMLVersion, "12.550.54.15"},
		"CUDA":    {inv.CUDAVersion, "12.4"},
		"library": {filepath.Base(inv.Library), "libnvidia-ml.so.1"},
	} {
		if test.got != test.want {
			t.Errorf("%s: %q, want %q", what, test.got, test.want)
		}
	}
	var want []gpu.Device
	for i, d := range m.Devices {
		cpus := "0-15,64-79"
		if i >= 4 {
			cpus = "16-31,80-95"
		}
		want = append(want, gpu.Device{
			Index: i, UUID: d.UUID, Name: d.Name, PCIBusID: addressOf(d), Minor: &d.Minor,
			MemoryTotalBytes: d.Memory.Total, CPUAffinity: cpus,
			ComputeMode: "default", ECC: new(true), Persistence: new(true),
		})
	}
	if diff := cmp.Diff(want, inv.Devices); diff != "" {
		t.Errorf("devices (-want +got):\n%s", diff)
	}
}

// TestDiscoverSorts has an NVML that does not list the GPUs in PCI order. The samples have to be
// in the inventory's order, too.
func TestDiscoverSorts(t *testing.T) {
	m := eightGPUs()
	slices.Reverse(m.Devices)
	p := openProbe(t, install(t, m))
	inv, sample := p.Inventory(), p.Sample()
	for i, d := range inv.Devices {
		real := m.Devices[7-i]
		if d.Index != i || d.UUID != real.UUID {
			t.Errorf("device %d is %+v, want %s", i, d, real.UUID)
		}
		s := sample.Devices[i]
		if s.Index != i || s.UUID != d.UUID {
			t.Errorf("sample %d is of GPU %d, %s; want %s", i, s.Index, s.UUID, d.UUID)
		}
		if *s.MemoryUsedBytes != real.Memory.Used {
			t.Errorf("sample %d has %d bytes, want %d", i, *s.MemoryUsedBytes, real.Memory.Used)
		}
	}
}

func TestDiscoverLostGPU(t *testing.T) {
	m := eightGPUs().LostGPU(3)
	p := openProbe(t, install(t, m))
	inv, sample := p.Inventory(), p.Sample()
	checkReason(t, inv, gpu.SourceNVML)
	checkCount(t, inv.Devices, 8)
	checkCount(t, sample.Devices, 8)
	for i, d := range inv.Devices {
		real := m.Devices[i]
		if d.Index != i || d.UUID != real.UUID || d.PCIBusID != addressOf(real) {
			t.Errorf("device %d is %+v, want %s at %s", i, d, real.UUID, addressOf(real))
		}
		problem := ""
		if i == 3 {
			problem = "GPU is lost (code 15)"
		}
		if d.Problem != problem {
			t.Errorf("device %d has the problem %q, want %q", i, d.Problem, problem)
		}
		s := sample.Devices[i]
		if s.Problem != problem {
			t.Errorf("sample %d has the problem %q, want %q", i, s.Problem, problem)
		}
		if (s.MemoryUsedBytes == nil) != (i == 3) {
			t.Errorf("sample %d is %+v; only GPU 3 has no figures", i, s)
		}
	}
	v := inv.Visible("", false)
	if len(v.Units) != 7 || v.Units[3].ID != m.Devices[4].UUID {
		t.Errorf("units %s, want all but GPU 3", gputest.IDs(v))
	}
	if len(v.Unusable) != 1 {
		t.Errorf("unusable %+v, want one", v.Unusable)
	}
}

// TestDiscoverLostGPUWithoutFiles has no driver's files that would say which GPU is lost.
func TestDiscoverLostGPUWithoutFiles(t *testing.T) {
	o := Options{Library: nvmltest.Install(t, eightGPUs().LostGPU(3)), Root: t.TempDir()}
	d := discover(t, o).Devices[3]
	if d.Index != 3 || d.PCIBusID != "" {
		t.Errorf("got GPU %d at %q, want GPU 3 without an address", d.Index, d.PCIBusID)
	}
	if d.Usable() {
		t.Error("the lost GPU is usable")
	}
}

// TestGPULostLater loses a GPU after its handle was obtained.
func TestGPULostLater(t *testing.T) {
	m := eightGPUs()
	o := install(t, m)
	p := openProbe(t, o)
	p.Inventory()
	nvmltest.Change(t, o.Library, m.With(nvmltest.Fail(15).InDevice("nvmlDeviceGet*", 2)))
	for i, s := range p.Sample().Devices {
		if (s.Problem != "") != (i == 2) {
			t.Errorf("sample %d has the problem %q; only GPU 2 is lost", i, s.Problem)
		}
		if (s.MemoryUsedBytes == nil) != (i == 2) {
			t.Errorf("sample %d is %+v; only GPU 2 has no figures", i, s)
		}
	}
	d := p.Inventory().Devices[2]
	if d.Usable() {
		t.Error("the lost GPU is usable")
	}
	if d.UUID != m.Devices[2].UUID {
		t.Errorf("the lost GPU is %q, want %q", d.UUID, m.Devices[2].UUID)
	}
}

func TestDiscoverOldDrivers(t *testing.T) {
	for _, m := range []nvmltest.Machine{eightGPUs().OldDriver(), eightGPUs().AncientDriver()} {
		inv := discover(t, install(t, m))
		checkReason(t, inv, gpu.SourceNVML, "NVML 9.384.183")
		checkCount(t, inv.Devices, 8)
		if inv.CUDAVersion != "9.0" {
			t.Errorf("the CUDA version is %q, want 9.0", inv.CUDAVersion)
		}
		for i, d := range inv.Devices {
			if !d.Usable() {
				t.Errorf("device %d has the problem %q", i, d.Problem)
			}
			real := m.Devices[i]
			if d.UUID != real.UUID || d.PCIBusID != addressOf(real) {
				t.Errorf("device %d is %+v, want %s at %s", i, d, real.UUID, addressOf(real))
			}
			if d.MemoryTotalBytes == 0 {
				t.Errorf("the memory of device %d is unknown", i)
			}
		}
	}
}

func TestDiscoverLibraryDoesNotStart(t *testing.T) {
	inv := discover(t, install(t, eightGPUs().FailsToStart()))
	checkReason(t, inv, gpu.SourceDriver, "cannot start NVML from /",
		"/libnvidia-ml.so.1: library and driver have different versions (code 18), "+
			"reboot or reload the driver", "; using the driver's files")
	checkCount(t, inv.Devices, 8)
}

// TestProbeRetriesStart repairs the library while the probe is open.
func TestProbeRetriesStart(t *testing.T) {
	o := install(t, eightGPUs().FailsToStart())
	p := openProbe(t, o)
	checkReason(t, p.Inventory(), gpu.SourceDriver)
	if s := p.Sample(); !strings.Contains(s.Error, "cannot start NVML") || s.Devices == nil {
		t.Errorf("sample %+v, want an error and no device", s)
	}
	nvmltest.Change(t, o.Library, eightGPUs())
	checkReason(t, p.Inventory(), gpu.SourceNVML)
	s := p.Sample()
	if s.Error != "" {
		t.Errorf("after the repair the sample has the error %q", s.Error)
	}
	checkCount(t, s.Devices, 8)
}

func TestDiscoverNVMLListsNone(t *testing.T) {
	m := eightGPUs()
	root := driverFilesOf(t, m)
	m.Devices = nil
	inv := discover(t, Options{Library: nvmltest.Install(t, m), Root: root})
	checkReason(t, inv, gpu.SourceDriver, "works but lists no GPU; using the driver's files")
	checkCount(t, inv.Devices, 8)
}

func TestDiscoverCannotCount(t *testing.T) {
	m := eightGPUs().With(nvmltest.Fail(999).In("nvmlDeviceGetCount*"))
	p := openProbe(t, install(t, m))
	checkReason(t, p.Inventory(), gpu.SourceDriver, "cannot count the GPUs with NVML from /",
		"/libnvidia-ml.so.1: unknown error (code 999)")
	if s := p.Sample(); !strings.Contains(s.Error, "cannot count the GPUs") {
		t.Errorf("the sample has the error %q, want one about counting", s.Error)
	}
}

// TestDiscoverSayNothing makes each question about a device fail in turn. The rest must not
// suffer.
func TestDiscoverSayNothing(t *testing.T) {
	for _, question := range []string{
		"Name", "UUID", "PciInfo*", "MinorNumber", "MemoryInfo*", "CpuAffinity*", "ComputeMode",
		"MigMode",
	} {
		m := eightGPUs().With(nvmltest.Fail(3).InDevice("nvmlDeviceGet"+question, 5))
		inv := discover(t, install(t, m))
		checkReason(t, inv, gpu.SourceNVML)
		checkCount(t, inv.Devices, 8)
		for i, d := range inv.Devices {
			if !d.Usable() {
				t.Errorf("without %s, GPU %d has the problem %q", question, i, d.Problem)
			}
			if want := m.Devices[i].UUID; d.UUID != want {
				t.Errorf("without %s, GPU %d is %q, want %q", question, i, d.UUID, want)
			}
		}
	}
}

func TestDiscoverGarbage(t *testing.T) {
	m := eightGPUs().With(nvmltest.Garbage.In("*"))
	inv := discover(t, install(t, m))
	checkReason(t, inv, gpu.SourceNVML)
	for i, d := range inv.Devices {
		// NVML's UUIDs cannot stand in CUDA_VISIBLE_DEVICES, so those of the driver's files are
		// used.
		if want := m.Devices[i].UUID; d.UUID != want {
			t.Errorf("device %d is %q, want %q", i, d.UUID, want)
		}
	}
}

func TestMIG(t *testing.T) {
	m := eightGPUs().MIG(2).WithDevice(5, func(d *nvmltest.Device) { d.MIG = true })
	p := openProbe(t, install(t, m))
	inv, sample := p.Inventory(), p.Sample()
	first, second := m.Devices[2].Instances[0], m.Devices[2].Instances[2]
	want := []gpu.MIGInstance{
		{
			UUID: first.UUID, Name: first.Name, Profile: "3g.40gb",
			MemoryTotalBytes: first.Memory.Total, GPUInstance: new(2), ComputeInstance: new(0),
		},
		{
			UUID: second.UUID, Name: second.Name, Profile: "1g.10gb",
			MemoryTotalBytes: second.Memory.Total, GPUInstance: new(9), ComputeInstance: new(1),
		},
	}
	if d := inv.Devices[2]; !d.MIG || !d.Usable() {
		t.Errorf("the split GPU is %+v, want a usable one in MIG mode", d)
	}
	if diff := cmp.Diff(want, inv.Devices[2].MIGInstances); diff != "" {
		t.Errorf("instances (-want +got):\n%s", diff)
	}
	if got, want := inv.Devices[5].Problem, gpu.ProblemNoInstance; got != want {
		t.Errorf("the GPU without instances has the problem %q, want %q", got, want)
	}
	v := inv.Visible("", false)
	if len(v.Units) != 8 || v.Units[2].ID != first.UUID || v.Units[3].ID != second.UUID {
		t.Errorf("units %s, want both instances in the place of GPU 2", gputest.IDs(v))
	}
	v = inv.Visible("MIG-"+m.Devices[2].UUID+"/9/1", true)
	if got := gputest.IDs(v); got != second.UUID {
		t.Errorf("the legacy name means %q, want %q (%s)", got, second.UUID, v.Reason)
	}

	checkCount(t, sample.Devices, 10)
	s := sample.Devices[4]
	if s.UUID != second.UUID || s.ParentUUID != m.Devices[2].UUID || s.Index != 2 {
		t.Errorf("sample 4 is %+v, want the second instance of GPU 2", s)
	}
	if *s.MemoryUsedBytes != second.Memory.Used {
		t.Errorf("its memory is %d bytes, want %d", *s.MemoryUsedBytes, second.Memory.Used)
	}
	if s.Utilization != nil {
		t.Errorf("its utilization is %v, want none", *s.Utilization)
	}
	if diff := cmp.Diff([]gpu.ProcessSample{{PID: 4002}}, s.Processes); diff != "" {
		t.Errorf("its processes (-want +got):\n%s", diff)
	}
}

func TestSample(t *testing.T) {
	m := eightGPUs().WithDevice(1, func(d *nvmltest.Device) {
		d.Processes = []nvmltest.Process{
			{PID: 42, Used: 7 << 30, GPUInstance: noInstance, ComputeInstance: noInstance},
			{
				PID: 43, Used: nvmltest.UnknownMemory,
				GPUInstance: noInstance, ComputeInstance: noInstance,
			},
		}
	})
	p := openProbe(t, install(t, m))
	sample := p.Sample() // before any inventory
	if sample.Time.IsZero() {
		t.Error("the sample has no time")
	}
	if sample.Error != "" {
		t.Errorf("the sample has the error %q", sample.Error)
	}
	checkCount(t, sample.Devices, 8)
	d := m.Devices[1]
	want := gpu.DeviceSample{
		Index: 1, UUID: d.UUID,
		MemoryUsedBytes: &d.Memory.Used, MemoryTotalBytes: &d.Memory.Total,
		Utilization: new(0.11), MemoryUtilization: new(0.21),
		TemperatureCelsius: new(31.0),
		PowerWatts:         new(100.001), PowerLimitWatts: new(700.001),
		SMClockHertz: new(1501e6), MemoryClockHertz: new(2620e6),
		Processes: []gpu.ProcessSample{{PID: 42, UsedBytes: new(uint64(7 << 30))}, {PID: 43}},
	}
	if diff := cmp.Diff(want, sample.Devices[1]); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestSampleLeavesOutWhatIsUnknown(t *testing.T) {
	m := eightGPUs().With(
		nvmltest.Fail(3).InDevice("nvmlDeviceGetPowerUsage", 0),
		nvmltest.Fail(3).InDevice("nvmlDeviceGetUtilizationRates", 0),
	)
	m = m.WithDevice(1, func(d *nvmltest.Device) { d.GPUUtilization = 4_000_000_000 })
	devices := openProbe(t, install(t, m)).Sample().Devices
	d := devices[0]
	if d.PowerWatts != nil {
		t.Errorf("the power that NVML does not say is %v", *d.PowerWatts)
	}
	if d.Utilization != nil {
		t.Errorf("the utilization that NVML does not say is %v", *d.Utilization)
	}
	if d.PowerLimitWatts == nil {
		t.Error("the power limit is unknown")
	}
	if d.Problem != "" {
		t.Errorf("the GPU has the problem %q", d.Problem)
	}
	d = devices[1]
	if d.Utilization != nil {
		t.Errorf("an impossible utilization is %v, want none", *d.Utilization)
	}
	if d.MemoryUtilization == nil {
		t.Error("the memory utilization is unknown")
	}
}

func TestSampleFollowsDeviceCount(t *testing.T) {
	m := eightGPUs()
	o := install(t, m)
	p := openProbe(t, o)
	p.Inventory()
	for _, n := range []int{5, 8, 0} {
		changeDeviceCount(t, o, m, n)
		s := p.Sample()
		if len(s.Devices) != n {
			t.Errorf("%d samples of %d devices", len(s.Devices), n)
		}
		if s.Error != "" {
			t.Errorf("with %d devices the sample has the error %q", n, s.Error)
		}
	}
}

// TestSpeeds checks that GPUs are asked how fast they are only if they are not all alike.
func TestSpeeds(t *testing.T) {
	m := eightGPUs()
	m.LogCalls = true
	o := install(t, m)
	for _, d := range discover(t, o).Devices {
		if d.Cores != 0 || d.MaxClockMHz != 0 {
			t.Errorf("GPU %d has a speed", d.Index)
		}
	}
	if n := nvmltest.CountCalls(t, o.Library, "nvmlDeviceGetNumGpuCores"); n != 0 {
		t.Errorf("asked %d times", n)
	}
	nvmltest.Change(t, o.Library, m.WithDevice(2, func(d *nvmltest.Device) {
		d.Name, d.Cores, d.MaxSMClock = "NVIDIA T400", 384, 1425
	}))
	for _, d := range discover(t, o).Devices {
		cores, clock := 16896, 1980
		if d.Index == 2 {
			cores, clock = 384, 1425
		}
		if d.Cores != cores || d.MaxClockMHz != clock {
			t.Errorf("GPU %d has %d cores and %d MHz", d.Index, d.Cores, d.MaxClockMHz)
		}
	}
}
