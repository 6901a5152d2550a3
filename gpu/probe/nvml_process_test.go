//go:build linux && !nonvml

package probe

import (
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/gpulaunch/gpulaunch/gpu"
	"github.com/gpulaunch/gpulaunch/gpu/nvml/nvmltest"
)

const nowhere = nvmltest.NoInstance

// TestProcesses has one process that /proc knows, one that only the driver knows, and one that nobody does.
func TestProcesses(t *testing.T) {
	m := eight().WithDevice(1, func(d *nvmltest.Device) {
		d.Processes = []nvmltest.Process{
			{PID: 42, Used: 5 << 30, GPUInstance: nowhere, ComputeInstance: nowhere, Name: "/wrong"},
			{PID: 43, Used: nvmltest.UnknownMemory, GPUInstance: nowhere, ComputeInstance: nowhere, Name: "/opt/bin/\x1btrain.sh --key=secret"},
			{PID: 44, Used: 0, GPUInstance: nowhere, ComputeInstance: nowhere},
		}
	})
	o := installed(t, m)
	writeFile(t, o.Root+"/proc/42/cmdline", "/usr/bin/python3\x00train.py")
	link(t, initialPIDNamespace, o.Root+"/proc/self/ns/pid")
	want := []gpu.Process{
		{PID: 42, User: userName(uint32(os.Getuid())), Command: "python3", MemoryBytes: 5 << 30, MemoryKnown: true, Visible: true},
		{PID: 43, Command: "?train.sh"},
		{PID: 44, MemoryKnown: true},
	}
	for i, d := range discover(t, o).Devices {
		expected := want
		if i != 1 {
			expected = nil
		}
		if diff := cmp.Diff(expected, d.Processes); diff != "" {
			t.Errorf("GPU %d:\n%s", i, diff)
		}
	}
}

// TestProcessesOfInstances asks the instances: the whole GPU may not tell.
func TestProcessesOfInstances(t *testing.T) {
	m := eight().MIG(2)
	first, second := m.Devices[2].Instances[0].UUID, m.Devices[2].Instances[2].UUID
	want := []gpu.Process{{PID: 4001, MIG: first, MemoryBytes: 1 << 30, MemoryKnown: true}, {PID: 4002, MIG: second}}
	if diff := cmp.Diff(want, discover(t, installed(t, m)).Devices[2].Processes); diff != "" {
		t.Error(diff)
	}
}
