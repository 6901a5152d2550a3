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

// The tests here read the same library with NVIDIA's own binding and with ours, and compare every
// answer. Run them with
//
//	CGO_ENABLED=1 CGO_CFLAGS=-Wno-deprecated-declarations \
//	  go test -tags gonvml -ldflags=-extldflags=-Wl,-z,lazy ./gpu/nvml/
//
// The compiler flag silences warnings about functions that NVIDIA has deprecated. The linker flag
// is necessary because go-nvml leaves its C functions to be resolved when they are first called.
// It resolves each only once in a process, so each machine is read in a child.

func TestSameAsGoNVML(t *testing.T) {
	eight := eightGPUs()
	busy, _ := withProcesses(100)
	odd := nvmltest.EightGPUs([]uint64{0, 1 << 63, 7}, nil)
	odd.Devices[0].Domain, odd.Devices[1].ComputeMode = 0x10000, 3
	odd.Devices[2].MIGCapable = false
	sick := withEvents(withHealth(2, nvmltest.Health{}, 0).
		WithDevice(1, func(d *nvmltest.Device) { d.Health = sickHealth() }))
	sick.Devices[3].Processes = []nvmltest.Process{{
		PID: uint32(namedPIDs[0]), Name: "/usr/bin/python3 -c ...",
	}}
	second := sick
	second.FabricVersion = 2
	for name, m := range map[string]nvmltest.Machine{
		"eight GPUs":      eight,
		"MIG":             eight.MIG(0).MIG(5),
		"lost GPU":        eight.LostGPU(3),
		"old driver":      eight.OldDriver(),
		"ancient driver":  eight.AncientDriver(),
		"does not start":  eight.FailsToStart(),
		"busy":            busy,
		"busy, v2":        busy.Without(v3),
		"busy, v1":        busy.Without(v3, v2),
		"sick":            sick,
		"sick, fabric v2": second,
		"sick, fabric v1": sick.Without("nvmlDeviceGetGpuFabricInfoV"),
		"sick MIG":        sick.MIG(1).MIG(2),
		"sick old driver": sick.OldDriver(),
		"odd":             odd,
		"no GPU":          {DriverVersion: "1", NVMLVersion: "2", CUDAVersion: 3},
	} {
		t.Run(name, func(t *testing.T) {
			out, err := childCommand(t, "gonvml", nvmltest.Install(t, m)).CombinedOutput()
			if err != nil || !strings.HasSuffix(string(out), "\nequal\n") {
				t.Errorf("the child says that the answers differ: %v\n%s", err, out)
			}
			t.Logf("%s", out)
		})
	}
}

// namedPIDs are the processes whose names are compared. Only the first one has a name, and only
// in the sick machine.
var namedPIDs = []int{4711, 4712}

// eventsEach is how many events each binding takes. The library delivers each event once, so the
// machine has twice as many.
const eventsEach = 3

func withEvents(m nvmltest.Machine) nvmltest.Machine {
	inInstance := nvmltest.XID(1, 31)
	inInstance.GPUInstance, inInstance.ComputeInstance = 2, 0
	events := []nvmltest.Event{
		nvmltest.XID(7, 1<<40|79), inInstance,
		{Device: 0, Type: nvmltest.EventDoubleBitECC, GPUInstance: 5, ComputeInstance: 6},
	}
	return m.WithEvents(events...).WithEvents(events...)
}

// TestDifferenceFromGoNVMLIsNoticed checks that the comparison notices when the two bindings read
// different machines.
func TestDifferenceFromGoNVMLIsNoticed(t *testing.T) {
	path := nvmltest.Install(t, eightGPUs())
	other := nvmltest.Install(t, eightGPUs().
		WithDevice(7, func(d *nvmltest.Device) { d.PowerLimit++ }))
	out, err := childCommand(t, "gonvml", path, "NVML_TEST_OTHER="+other).CombinedOutput()
	if err == nil {
		t.Error("the child did not fail")
	}
	if !strings.Contains(string(out), "power limit") {
		t.Errorf("the output does not name the difference:\n%s", out)
	}
}

func init() {
	// This child reads a library with both bindings.
	children["gonvml"] = func(libPath string) {
		lib := must(Open(libPath))
		theirPath := libPath
		if other := os.Getenv("NVML_TEST_OTHER"); other != "" {
			theirPath = other
		}
		want := goNVMLFacts(gonvml.New(gonvml.WithLibraryPath(theirPath)))
		got := withCodes(libraryFacts(lib))
		fmt.Printf("%d facts\n", count(got))
		if diff := cmp.Diff(want, got); diff != "" {
			fmt.Printf("(-go-nvml +ours):\n%s", diff)
			os.Exit(1)
		}
		fmt.Println("equal")
	}
}

// count returns the number of answers, including those about devices and instances.
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

// withCodes replaces errors by their numbers, since go-nvml has only those.
func withCodes(f facts) facts {
	coded := facts{}
	for name, value := range f {
		coded[name] = withCode(value)
	}
	return coded
}

func withCode(value any) any {
	switch v := value.(type) {
	case facts:
		return withCodes(v)
	case []any:
		list := make([]any, len(v))
		for i := range v {
			list[i] = withCode(v[i])
		}
		return list
	case error:
		var r Return
		if errors.As(v, &r) {
			return int32(r)
		}
		return v.Error()
	}
	return value
}

// libraryFacts asks a library everything that is compared.
func libraryFacts(lib *Library) facts {
	f := facts{}
	f.put("init", 0, lib.Init())
	add(f, "driver", lib.DriverVersion)
	add(f, "nvml", lib.NVMLVersion)
	add(f, "cuda", lib.CUDADriverVersion)
	n, err := lib.DeviceCount()
	f.put("count", n, err)
	for i := range n + 1 {
		d, err := lib.Device(i)
		if err != nil {
			f[fmt.Sprint(i)] = err
			continue
		}
		f[fmt.Sprint(i)] = allFacts(d, true)
	}
	for _, pid := range namedPIDs {
		name, err := lib.ProcessName(uint32(pid))
		f.put(fmt.Sprint("process ", pid), name, err)
	}
	f["events"] = eventFacts(lib, n)
	return f
}

// eventFacts registers all GPUs and takes events. The result is a list, or an error.
func eventFacts(lib *Library, gpus int) any {
	set, err := lib.NewEventSet()
	if err != nil {
		return err
	}
	defer set.Free()
	var list []any
	for i := range gpus {
		if d, err := lib.Device(i); err == nil {
			list = append(list, codeOf(d.RegisterEvents(EventXID|EventDoubleBitECC, set)))
		}
	}
	for range eventsEach {
		e, err := set.Wait(time.Millisecond)
		if err != nil {
			list = append(list, err)
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

// codeOf returns the number of an error, and 0 for success.
func codeOf(err error) any {
	if err == nil {
		return int32(0)
	}
	return withCode(err)
}

// allFacts asks a device everything that is compared. A whole GPU is also asked for its instances.
func allFacts(d Device, whole bool) facts {
	f := deviceFacts(d)
	for name, value := range healthFacts(d) {
		f[name] = value
	}
	add(f, "gpu instance", d.GPUInstanceID)
	add(f, "compute instance", d.ComputeInstanceID)
	add(f, "places", d.MaxMIGDevices)
	add(f, "attributes", d.Attributes)
	for place := 0; whole && place < 8; place++ {
		instance, err := d.MIGDevice(place)
		if err != nil {
			f[fmt.Sprint("place ", place)] = err
			continue
		}
		f[fmt.Sprint("place ", place)] = allFacts(instance, false)
	}
	return f
}
