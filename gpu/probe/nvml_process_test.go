//go:build linux && !nonvml

package probe

import (
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/gpulaunch/gpulaunch/gpu"
	"github.com/gpulaunch/gpulaunch/gpu/nvml/nvmltest"
)

// TestProcesses has one process that /proc shows, one that only the driver can name, and one
// that nobody can name.
func TestProcesses(t *testing.T) {
	process := func(pid uint32, used uint64, name string) nvmltest.Process {
		return nvmltest.Process{
			PID: pid, Used: used, Name: name,
			GPUInstance: noInstance, ComputeInstance: noInstance,
		}
	}
	m := eightGPUs().WithDevice(1, func(d *nvmltest.Device) {
		d.Processes = []nvmltest.Process{
			process(42, 5<<30, "/wrong"),
			process(43, nvmltest.UnknownMemory, "/opt/bin/\x1btrain.sh --key=secret"),
			process(44, 0, ""),
		}
	})
	o := install(t, m)
	writeFile(t, o.Root+"/proc/42/cmdline", "/usr/bin/python3\x00train.py")
	link(t, initialPIDNamespace, o.Root+"/proc/self/ns/pid")
	want := []gpu.Process{
		{
			PID: 42, User: userName(uint32(os.Getuid())), Command: "python3",
			MemoryBytes: 5 << 30, MemoryKnown: true, Visible: true,
		},
		{PID: 43, Command: "?train.sh"},
		{PID: 44, MemoryKnown: true},
	}
	for i, d := range discover(t, o).Devices {
		expected := want
		if i != 1 {
			expected = nil
		}
		if diff := cmp.Diff(expected, d.Processes); diff != "" {
			t.Errorf("GPU %d (-want +got):\n%s", i, diff)
		}
	}
}

// TestProcessesOfInstances checks that the instances are asked, because in MIG mode the GPU
// itself may refuse to answer.
func TestProcessesOfInstances(t *testing.T) {
	m := eightGPUs().MIG(2)
	first, second := m.Devices[2].Instances[0].UUID, m.Devices[2].Instances[2].UUID
	want := []gpu.Process{
		{PID: 4001, MIG: first, MemoryBytes: 1 << 30, MemoryKnown: true},
		{PID: 4002, MIG: second},
	}
	if diff := cmp.Diff(want, discover(t, install(t, m)).Devices[2].Processes); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
