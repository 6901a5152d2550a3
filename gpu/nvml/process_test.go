//go:build linux && !nonvml

package nvml

import (
	"errors"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/gpulaunch/gpulaunch/gpu/nvml/nvmltest"
)

// The versions of the function that lists processes.
const (
	v1 = "nvmlDeviceGetComputeRunningProcesses"
	v2 = v1 + "_v2"
	v3 = v1 + "_v3"
)

// withProcesses returns a machine whose first GPU has n processes, and what it has to answer.
func withProcesses(n int) (nvmltest.Machine, []Process) {
	m := eightGPUs()
	var want []Process
	for i := range n {
		p := Process{
			PID: uint32(1000 + i), UsedBytes: uint64(i) << 20, UsedKnown: true,
			GPUInstance: NoInstance, ComputeInstance: NoInstance,
		}
		used := p.UsedBytes
		if i%3 == 2 {
			p.UsedBytes, p.UsedKnown, used = 0, false, nvmltest.UnknownMemory
		}
		if i%2 == 1 {
			p.GPUInstance, p.ComputeInstance = uint32(i), uint32(i+1)
		}
		want = append(want, p)
		m.Devices[0].Processes = append(m.Devices[0].Processes, nvmltest.Process{
			PID: p.PID, Used: used,
			GPUInstance: p.GPUInstance, ComputeInstance: p.ComputeInstance,
		})
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
			"v3 refused": {machine: m.With(nvmltest.Fail(13).InDevice(v3, 0))},
		} {
			got, err := device(t, start(t, test.machine), 0).ComputeProcesses()
			if err != nil {
				t.Errorf("%d processes, %s: %v", n, name, err)
			}
			expected := slices.Clone(want)
			for i := range expected {
				if test.noIDs {
					expected[i].GPUInstance = NoInstance
					expected[i].ComputeInstance = NoInstance
				}
			}
			if diff := cmp.Diff(expected, got); diff != "" {
				t.Errorf("%d processes, %s (-want +got):\n%s", n, name, diff)
			}
		}
	}
}

// TestProcessesJoinBetweenCalls has a list that grows from 40 processes by 300 with each call. It
// fits at the third try, when there are 640.
func TestProcessesJoinBetweenCalls(t *testing.T) {
	m, _ := withProcesses(40)
	m.Devices[0].ProcessGrowth = 300
	list, err := device(t, start(t, m), 0).ComputeProcesses()
	if err != nil {
		t.Fatal(err)
	}
	if len(list) != 640 {
		t.Fatalf("%d processes, want 640", len(list))
	}
	if last := list[639]; last.PID != 100599 || last.UsedBytes != 1<<20 {
		t.Errorf("the last process is %+v, want PID 100599 with 1 MiB", last)
	}
}

func TestProcessListThatNeverFits(t *testing.T) {
	endless, _ := withProcesses(40)
	endless.Devices[0].ProcessGrowth = maxProcessRoom + 1
	for name, m := range map[string]nvmltest.Machine{
		"it grows without end":          endless,
		"the library only says so":      eightGPUs().With(nvmltest.Fail(7).InDevice(v3, 0)),
		"the library says so every way": eightGPUs().With(nvmltest.Fail(7).InDevice(v1+"*", 0)),
	} {
		_, err := device(t, start(t, m), 0).ComputeProcesses()
		if !errors.Is(err, ErrInsufficientSize) {
			t.Errorf("%s: the error is %v, want ErrInsufficientSize", name, err)
		}
	}
}

func TestProcessListNotWritten(t *testing.T) {
	m := eightGPUs().With(nvmltest.Fail(0).InDevice(v3, 0))
	list, err := device(t, start(t, m), 0).ComputeProcesses()
	if !errors.Is(err, ErrUnknown) {
		t.Errorf("%d processes, %v; want ErrUnknown", len(list), err)
	}
}
