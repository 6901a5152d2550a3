//go:build linux && !nonvml

package nvml

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/gpulaunch/gpulaunch/gpu/nvml/nvmltest"
)

func TestMIG(t *testing.T) {
	m := nvmltest.EightGPUs(node0, node1).MIG(1)
	m.Devices[1].Instances[2].SRAMErrors = 5
	lib := start(t, m)
	parent := device(t, lib, 1)
	if on, pending, err := parent.MIGMode(); !on || !pending || err != nil {
		t.Errorf("MIGMode = %v, %v, %v", on, pending, err)
	}
	if n, err := parent.MaxMIGDevices(); n != 7 || err != nil {
		t.Errorf("MaxMIGDevices = %d, %v", n, err)
	}
	if _, _, err := parent.Utilization(); !errors.Is(err, ErrNotSupported) {
		t.Errorf("Utilization with MIG: %v", err)
	}
	for place, want := range m.Devices[1].Instances {
		instance, err := parent.MIGDevice(place)
		if want.UUID == "" {
			if !errors.Is(err, ErrNotFound) {
				t.Errorf("empty place %d: %v", place, err)
			}
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, instanceFacts(t, instance)); diff != "" {
			t.Errorf("place %d (-want +got):\n%s", place, diff)
		}
	}
	if _, err := parent.MIGDevice(6); !errors.Is(err, ErrNotFound) {
		t.Errorf("place 6: %v", err)
	}
}

func instanceFacts(t *testing.T, d Device) nvmltest.Instance {
	t.Helper()
	var f nvmltest.Instance
	var errs [7]error
	var attributes Attributes
	var memory MemoryInfo
	f.Name, errs[0] = d.Name()
	f.UUID, errs[1] = d.UUID()
	memory, errs[2] = d.Memory()
	f.Memory = nvmltest.Memory(memory)
	f.GPUInstance, errs[3] = d.GPUInstanceID()
	f.ComputeInstance, errs[4] = d.ComputeInstanceID()
	attributes, errs[5] = d.Attributes()
	f.GPUSlices, f.ComputeSlices, f.Multiprocessors = attributes.GPUSlices, attributes.ComputeSlices, attributes.Multiprocessors
	if got, want := attributes.MemoryMegabytes, f.Memory.Total>>20; got != want {
		t.Errorf("attributes: %d MB of memory, want %d", got, want)
	}
	f.SRAMErrors, errs[6] = d.UncorrectedSRAMErrors()
	if err := errors.Join(errs[:]...); err != nil {
		t.Error(err)
	}
	return f
}

func TestMIGByUUID(t *testing.T) {
	m := nvmltest.EightGPUs(node0, node1).MIG(1)
	want := m.Devices[1].Instances[2]
	d, err := start(t, m).DeviceByUUID(want.UUID)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, instanceFacts(t, d)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	list, err := d.ComputeProcesses()
	if diff := cmp.Diff([]Process{{PID: 4002, GPUInstance: 9, ComputeInstance: 1}}, list); diff != "" || err != nil {
		t.Errorf("processes: %v (-want +got):\n%s", err, diff)
	}
}

func TestNoMIG(t *testing.T) {
	m := nvmltest.EightGPUs(node0, node1)
	m.Devices[0].MIGCapable = false
	lib := start(t, m)
	if _, _, err := device(t, lib, 0).MIGMode(); !errors.Is(err, ErrNotSupported) {
		t.Errorf("not capable: %v", err)
	}
	if on, _, err := device(t, lib, 1).MIGMode(); on || err != nil {
		t.Errorf("capable but off: %v, %v", on, err)
	}
	if n, err := device(t, lib, 1).MaxMIGDevices(); n != 0 || err != nil {
		t.Errorf("MaxMIGDevices = %d, %v", n, err)
	}
}
