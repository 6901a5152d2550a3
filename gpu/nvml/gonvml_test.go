//go:build linux && gonvml && !nonvml

package nvml

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

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
	for name, m := range map[string]nvmltest.Machine{
		"eight GPUs": eight, "MIG": eight.MIG(0).MIG(5), "lost GPU": eight.LostGPU(3), "old driver": eight.OldDriver(),
		"ancient driver": eight.AncientDriver(), "busy": busy, "busy, v2": busy.Without(v3), "busy, v1": busy.Without(v3, v2),
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
	return f
}

func deviceFacts(d Device, whole bool) facts {
	f := facts{
		"name": ourFact(d.Name()), "uuid": ourFact(d.UUID()), "pci": ourFact(d.PCI()), "minor": ourFact(d.MinorNumber()),
		"index": ourFact(d.Index()), "memory": ourFact(d.Memory()), "temperature": ourFact(d.Temperature()),
		"power usage": ourFact(d.PowerUsage()), "power limit": ourFact(d.PowerLimit()), "compute mode": ourFact(d.ComputeMode()),
		"graphics clock": ourFact(d.Clock(ClockGraphics)), "SM clock": ourFact(d.Clock(ClockSM)), "memory clock": ourFact(d.Clock(ClockMemory)),
		"gpu instance": ourFact(d.GPUInstanceID()), "compute instance": ourFact(d.ComputeInstanceID()),
		"places": ourFact(d.MaxMIGDevices()), "cpus": ourFact(d.CPUAffinityWithinNUMA()), "processes": ourFact(d.ComputeProcesses()),
	}
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
