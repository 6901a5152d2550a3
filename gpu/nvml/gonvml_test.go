//go:build linux && gonvml && !nonvml

package nvml

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	gonvml "github.com/NVIDIA/go-nvml/pkg/nvml"
	"github.com/google/go-cmp/cmp"
	"github.com/gpulaunch/gpulaunch/gpu/nvml/nvmltest"
)

// The same library is read with NVIDIA's own binding and with ours, and every field compared. Run with
//
//	CGO_ENABLED=1 CGO_CFLAGS=-Wno-deprecated-declarations \
//	  go test -tags gonvml -ldflags=-extldflags=-Wl,-z,lazy ./gpu/nvml/
//
// The compiler flag silences warnings about what NVIDIA has deprecated. go-nvml leaves its C functions to be resolved
// when they are first called, hence the linker flag. It resolves each only once in a process, hence a child per machine.

func TestSameAsGoNVML(t *testing.T) {
	eight := nvmltest.EightGPUs(node0, node1)
	busy, _ := withProcesses(100)
	odd := nvmltest.EightGPUs([]uint64{0, 1 << 63, 7}, nil)
	odd.Devices[0].Domain, odd.Devices[1].ComputeMode, odd.Devices[2].MIGCapable = 0x10000, 3, false
	unwell := happening(eight.WithDevice(1, func(d *nvmltest.Device) { d.Health = sick() }).
		WithDevice(2, func(d *nvmltest.Device) { d.Health, d.EventTypes = nvmltest.Health{}, 0 }))
	unwell.Devices[3].Processes = []nvmltest.Process{{PID: uint32(namedPIDs[0]), Name: "/usr/bin/python3 -c ..."}}
	second := unwell
	second.FabricVersion = 2
	for name, m := range map[string]nvmltest.Machine{
		"eight GPUs": eight, "MIG": eight.MIG(0).MIG(5), "lost GPU": eight.LostGPU(3), "old driver": eight.OldDriver(),
		"ancient driver": eight.AncientDriver(), "busy": busy, "busy, v2": busy.Without(v3), "busy, v1": busy.Without(v3, v2),
		"sick": unwell, "sick, fabric v2": second, "sick, fabric v1": unwell.Without("nvmlDeviceGetGpuFabricInfoV"),
		"sick MIG": unwell.MIG(1).MIG(2), "sick, old driver": unwell.OldDriver(),
		"odd": odd, "does not start": eight.FailsToStart(), "no GPU": {DriverVersion: "1", NVMLVersion: "2", CUDAVersion: 3},
	} {
		t.Run(name, func(t *testing.T) {
			out, err := child(t, "gonvml", nvmltest.Install(t, m)).CombinedOutput()
			if err != nil || !strings.HasSuffix(string(out), "\nequal\n") {
				t.Errorf("%v\n%s", err, out)
			}
			t.Logf("%s", out)
		})
	}
}

// namedPIDs are the processes whose names are compared: one that has a name where there is one, and one that has none.
var namedPIDs = []int{4711, 4712}

// eventsEach is how many events either binding takes. The library has each event once, so there are twice as many.
const eventsEach = 3

func happening(m nvmltest.Machine) nvmltest.Machine {
	part := nvmltest.XID(1, 31)
	part.GPUInstance, part.ComputeInstance = 2, 0
	some := []nvmltest.Event{nvmltest.XID(7, 1<<40|79), part, {Device: 0, Type: nvmltest.EventDoubleBitECC, GPUInstance: 5, ComputeInstance: 6}}
	return m.WithEvents(some...).WithEvents(some...)
}

// The comparison must notice when the two read different machines.
func TestDifferenceFromGoNVMLIsNoticed(t *testing.T) {
	path := nvmltest.Install(t, nvmltest.EightGPUs(node0, node1))
	other := nvmltest.Install(t, nvmltest.EightGPUs(node0, node1).WithDevice(7, func(d *nvmltest.Device) { d.PowerLimit++ }))
	out, err := child(t, "gonvml", path, "NVML_TEST_OTHER="+other).CombinedOutput()
	if err == nil || !strings.Contains(string(out), "power limit") {
		t.Errorf("%v\n%s", err, out)
	}
}

func init() {
	children["gonvml"] = func(libPath string) {
		lib := must(Open(libPath))
		theirs := libPath
		if other := os.Getenv("NVML_TEST_OTHER"); other != "" {
			theirs = other
		}
		judge := gonvml.New(gonvml.WithLibraryPath(theirs))
		want, got := systemOfGoNVML(judge), systemOf(lib)
		fmt.Printf("%d facts\n", count(got))
		if diff := cmp.Diff(want, got); diff != "" {
			fmt.Printf("(-go-nvml +ours):\n%s", diff)
			os.Exit(1)
		}
		fmt.Println("equal")
	}
}

// count is the number of values compared, those of devices and instances included.
func count(f facts) int {
	n := 0
	for _, value := range f {
		if nested, ok := value.(facts); ok {
			n += count(nested)
		} else {
			n++
		}
	}
	return n
}

// fact is a value, or the number of the error in its place.
func fact(value any, err error) any {
	var r Return
	switch {
	case err == nil:
		return value
	case errors.As(err, &r):
		return int32(r)
	}
	return err.Error()
}

func theirFact(value any, r gonvml.Return) any {
	if r != gonvml.SUCCESS {
		return int32(r)
	}
	return value
}

// ourFact makes fact take a function's two results.
func ourFact[T any](value T, err error) any { return fact(value, err) }

func systemOf(lib *Library) facts {
	f := facts{"init": ourFact(0, lib.Init()), "driver": ourFact(lib.DriverVersion()), "nvml": ourFact(lib.NVMLVersion()), "cuda": ourFact(lib.CUDADriverVersion())}
	n, err := lib.DeviceCount()
	f["count"] = fact(n, err)
	for i := range n + 1 {
		d, err := lib.Device(i)
		if err != nil {
			f[fmt.Sprint(i)] = fact(nil, err)
			continue
		}
		f[fmt.Sprint(i)] = deviceFacts(d, true)
	}
	for _, pid := range namedPIDs {
		f[fmt.Sprint("process ", pid)] = ourFact(lib.ProcessName(uint32(pid)))
	}
	f["events"] = eventFacts(lib, n)
	return f
}

func eventFacts(lib *Library, gpus int) any {
	set, err := lib.NewEventSet()
	if err != nil {
		return fact(nil, err)
	}
	defer set.Free()
	var list []any
	for i := range gpus {
		if d, err := lib.Device(i); err == nil {
			list = append(list, fact(int32(0), d.RegisterEvents(EventXID|EventDoubleBitECC, set)))
		}
	}
	for range eventsEach {
		e, err := set.Wait(time.Millisecond)
		if err != nil {
			list = append(list, fact(nil, err))
			continue
		}
		uuid, _ := e.Device.UUID()
		f := facts{"uuid": uuid, "type": uint64(e.Type), "data": e.XID}
		if _, err := lib.address(eventSetWaitV2); err == nil {
			f["instance"] = [2]uint32{e.GPUInstance, e.ComputeInstance}
		}
		list = append(list, f)
	}
	return list
}

func deviceFacts(d Device, whole bool) facts {
	f := facts{
		"name": ourFact(d.Name()), "uuid": ourFact(d.UUID()), "pci": ourFact(d.PCI()), "minor": ourFact(d.MinorNumber()),
		"index": ourFact(d.Index()), "memory": ourFact(d.Memory()), "temperature": ourFact(d.Temperature()),
		"power usage": ourFact(d.PowerUsage()), "power limit": ourFact(d.PowerLimit()), "compute mode": ourFact(d.ComputeMode()),
		"graphics clock": ourFact(d.Clock(ClockGraphics)), "SM clock": ourFact(d.Clock(ClockSM)), "memory clock": ourFact(d.Clock(ClockMemory)),
		"gpu instance": ourFact(d.GPUInstanceID()), "compute instance": ourFact(d.ComputeInstanceID()),
		"places": ourFact(d.MaxMIGDevices()), "cpus": ourFact(d.CPUAffinityWithinNUMA()), "processes": ourFact(d.ComputeProcesses()),
		"ECC errors": ourFact(d.UncorrectedECCErrors()), "SRAM errors": ourFact(d.UncorrectedSRAMErrors()), "rows": ourFact(d.RemappedRows()),
		"pages": ourFact(d.RetiredPagesPending()), "persistence": ourFact(d.PersistenceMode()), "attributes": ourFact(d.Attributes()),
		"fabric": ourFact(d.Fabric()), "recovery": ourFact(d.RecoveryAction()),
	}
	types, err := d.SupportedEvents()
	f["event types"] = fact(uint64(types), err)
	ecc, next, err := d.ECCMode()
	f["ECC mode"] = fact([2]bool{ecc, next}, err)
	gpu, memory, err := d.Utilization()
	f["utilization"] = fact([2]uint32{gpu, memory}, err)
	current, pending, err := d.MIGMode()
	f["mig"] = fact([2]bool{current, pending}, err)
	if uuid, err := d.UUID(); err == nil {
		same, err := d.lib.DeviceByUUID(uuid)
		f["handle by UUID"] = fact(same == d, err)
	}
	for place := range 8 {
		if !whole {
			break
		}
		instance, err := d.MIGDevice(place)
		if err != nil {
			f[fmt.Sprint("place ", place)] = fact(nil, err)
			continue
		}
		f[fmt.Sprint("place ", place)] = deviceFacts(instance, false)
	}
	return f
}
