//go:build linux && !nonvml

package nvml

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/gpulaunch/gpulaunch/gpu/nvml/nvmltest"
)

func TestMIG(t *testing.T) {
	m := eightGPUs().MIG(1)
	m.Devices[1].Instances[2].SRAMErrors = 5
	lib := start(t, m)
	parent := device(t, lib, 1)
	if on, pending, err := parent.MIGMode(); !on || !pending || err != nil {
		t.Errorf("MIGMode() = %v, %v, %v; want true, true", on, pending, err)
	}
	if n, err := parent.MaxMIGDevices(); n != 7 || err != nil {
		t.Errorf("MaxMIGDevices() = %d, %v; want 7", n, err)
	}
	if _, _, err := parent.Utilization(); !errors.Is(err, ErrNotSupported) {
		t.Errorf("in MIG mode, Utilization() gives %v, want ErrNotSupported", err)
	}
	for place, want := range m.Devices[1].Instances {
		instance, err := parent.MIGDevice(place)
		if want.UUID == "" {
			if !errors.Is(err, ErrNotFound) {
				t.Errorf("the empty place %d gives %v, want ErrNotFound", place, err)
			}
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, readInstance(t, instance)); diff != "" {
			t.Errorf("place %d (-want +got):\n%s", place, diff)
		}
	}
	if _, err := parent.MIGDevice(6); !errors.Is(err, ErrNotFound) {
		t.Errorf("place 6 gives %v, want ErrNotFound", err)
	}
}

// readInstance asks a MIG instance for everything that describes it.
func readInstance(t *testing.T, d Device) nvmltest.Instance {
	t.Helper()
	var in nvmltest.Instance
	var errs [7]error
	var attributes Attributes
	var memory MemoryInfo
	in.Name, errs[0] = d.Name()
	in.UUID, errs[1] = d.UUID()
	memory, errs[2] = d.Memory()
	in.Memory = nvmltest.Memory(memory)
	in.GPUInstance, errs[3] = d.GPUInstanceID()
	in.ComputeInstance, errs[4] = d.ComputeInstanceID()
	attributes, errs[5] = d.Attributes()
	in.GPUSlices, in.ComputeSlices = attributes.GPUSlices, attributes.ComputeSlices
	in.Multiprocessors = attributes.Multiprocessors
	if got, want := attributes.MemoryMegabytes, in.Memory.Total>>20; got != want {
		t.Errorf("the attributes have %d MB of memory, want %d", got, want)
	}
	in.SRAMErrors, errs[6] = d.UncorrectedSRAMErrors()
	if err := errors.Join(errs[:]...); err != nil {
		t.Error(err)
	}
	return in
}

func TestProcessesOfMIGInstance(t *testing.T) {
	instance, err := device(t, start(t, eightGPUs().MIG(1)), 1).MIGDevice(2)
	if err != nil {
		t.Fatal(err)
	}
	list, err := instance.ComputeProcesses()
	if err != nil {
		t.Fatal(err)
	}
	want := []Process{{PID: 4002, GPUInstance: 9, ComputeInstance: 1}}
	if diff := cmp.Diff(want, list); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestNoMIG(t *testing.T) {
	m := eightGPUs()
	m.Devices[0].MIGCapable = false
	lib := start(t, m)
	if _, _, err := device(t, lib, 0).MIGMode(); !errors.Is(err, ErrNotSupported) {
		t.Errorf("on a GPU without MIG, MIGMode() gives %v, want ErrNotSupported", err)
	}
	if on, _, err := device(t, lib, 1).MIGMode(); on || err != nil {
		t.Errorf("on a GPU with MIG off, MIGMode() = %v, %v; want false", on, err)
	}
	if n, err := device(t, lib, 1).MaxMIGDevices(); n != 0 || err != nil {
		t.Errorf("on a GPU with MIG off, MaxMIGDevices() = %d, %v; want 0", n, err)
	}
}
