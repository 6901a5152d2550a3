//go:build linux && !nonvml

package nvml

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/gpulaunch/gpulaunch/gpu/nvml/nvmltest"
)

const v1, v2, v3 = "nvmlDeviceGetComputeRunningProcesses", "nvmlDeviceGetComputeRunningProcesses_v2", "nvmlDeviceGetComputeRunningProcesses_v3"

// withProcesses is a machine whose first GPU has n processes, and what must be told of them.
func withProcesses(n int) (nvmltest.Machine, []Process) {
	m := nvmltest.EightGPUs(node0, node1)
	var want []Process
	for i := range n {
		p := Process{PID: uint32(1000 + i), UsedBytes: uint64(i) << 20, UsedKnown: true, GPUInstance: NoInstance, ComputeInstance: NoInstance}
		used := p.UsedBytes
		if i%3 == 2 {
			p.UsedBytes, p.UsedKnown, used = 0, false, nvmltest.UnknownMemory
		}
		if i%2 == 1 {
			p.GPUInstance, p.ComputeInstance = uint32(i), uint32(i+1)
		}
		want = append(want, p)
		m.Devices[0].Processes = append(m.Devices[0].Processes,
			nvmltest.Process{PID: p.PID, Used: used, GPUInstance: p.GPUInstance, ComputeInstance: p.ComputeInstance})
	}
	return m, want
}

func TestProcessLayouts(t *testing.T) {
	for _, n := range []int{0, 1, 2, 3, firstProcessRoom, firstProcessRoom + 1, 5000} {
		m, want := withProcesses(n)
		wide := m
		wide.WideProcesses = true
		for name, test := range map[string]struct {
			machine nvmltest.Machine
			noIDs   bool
		}{
			"v3":         {machine: m},
			"v3 of 535":  {machine: wide},
			"v2":         {machine: m.Without(v3)},
			"v1":         {machine: m.Without(v3, v2), noIDs: true},
			"v3 refused": {machine: m.With(nvmltest.Behavior{Function: v3, Device: 0, Action: nvmltest.Fail(13)})},
		} {
			got, err := device(t, start(t, test.machine), 0).ComputeProcesses()
			expect := append([]Process(nil), want...)
			for i := range expect {
				if test.noIDs {
					expect[i].GPUInstance, expect[i].ComputeInstance = NoInstance, NoInstance
				}
			}
			if diff := cmp.Diff(expect, got); diff != "" || err != nil {
				t.Errorf("%d processes, %s: %v (-want +got):\n%s", n, name, err, diff)
			}
		}
	}
}

func TestProcessesJoinBetweenCalls(t *testing.T) {
	m, _ := withProcesses(40)
	m.Devices[0].ProcessGrowth = 300
	list, err := device(t, start(t, m), 0).ComputeProcesses()
	// 40 do not fit at first, 340 not at the second try, 640 at the third do.
	if len(list) != 640 || err != nil {
		t.Fatalf("%d processes, %v", len(list), err)
	}
	if last := list[639]; last.PID != 100599 || last.UsedBytes != 1<<20 {
		t.Errorf("last process: %+v", last)
	}
}

func TestProcessListThatNeverFits(t *testing.T) {
	endless, _ := withProcesses(40)
	endless.Devices[0].ProcessGrowth = maxProcessRoom + 1
	refused := nvmltest.EightGPUs(node0, node1).With(nvmltest.Behavior{Function: v3, Device: 0, Action: nvmltest.Fail(7)})
	for name, m := range map[string]nvmltest.Machine{"grows without end": endless, "says so only": refused} {
		if _, err := device(t, start(t, m), 0).ComputeProcesses(); !errors.Is(err, ErrInsufficientSize) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestProcessListNotWritten(t *testing.T) {
	m := nvmltest.EightGPUs(node0, node1).With(nvmltest.Behavior{Function: v3, Device: 0, Action: nvmltest.Fail(0)})
	if list, err := device(t, start(t, m), 0).ComputeProcesses(); !errors.Is(err, ErrUnknown) {
		t.Errorf("%d processes, %v", len(list), err)
	}
}
