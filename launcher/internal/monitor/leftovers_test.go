package monitor

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/gpulaunch/gpulaunch/gpu"
	"github.com/gpulaunch/gpulaunch/launcher/plan"
	"github.com/gpulaunch/gpulaunch/launcher/plan/plantest"
	"github.com/gpulaunch/gpulaunch/launcher/report"
)

func TestLeftoversOnGPUs(t *testing.T) {
	m := plantest.TwoNodes("unset", 0, 1, 1)
	o := plantest.Options()
	o.Workers = plan.Workers(2)
	p := plantest.Plan(t, m, o)
	process := func(pid int) gpu.Process { return gpu.Process{PID: pid, User: "me"} }
	before, after := m.Inventory, m.Inventory
	before.Devices = []gpu.Device{m.Inventory.Devices[0], m.Inventory.Devices[1],
		m.Inventory.Devices[2]}
	before.Devices[1].Processes = []gpu.Process{process(1)}
	after.Devices = []gpu.Device{
		{Index: 0, UUID: "GPU-1", Processes: []gpu.Process{process(1), process(2),
			process(3), process(4)}},
		{Index: 1, UUID: "GPU-2", Processes: []gpu.Process{process(5)}}, // not the job's
	}
	want := []report.GPUProcess{{GPU: 1, UUID: "GPU-1", PID: 2, User: "me"},
		{GPU: 1, UUID: "GPU-1", PID: 4, User: "me"}}
	// Process 3 is of the same user, and came to the GPU during the job, but is none of the job's.
	ours := map[int]bool{1: true, 2: true, 4: true, 5: true}
	got := leftovers(p, before, after, ours)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if got := leftovers(p, after, after, ours); got != nil {
		t.Errorf("all were there before: %v", got)
	}
}

// TestLeftoversOfInstances checks that processes on another MIG instance of the GPU do not count as
// the job's.
func TestLeftoversOfInstances(t *testing.T) {
	m := plantest.MIGWithFinding()
	o := plantest.Options()
	o.Workers = plan.Workers(1)
	p := plantest.Plan(t, m, o)
	after := m.Inventory
	after.Devices = []gpu.Device{m.Inventory.Devices[0]}
	after.Devices[0].Processes = []gpu.Process{{PID: 1, MIG: "MIG-1"}, {PID: 2, MIG: "MIG-2"}}
	if got := leftovers(p, m.Inventory, after, map[int]bool{1: true, 2: true}); len(got) != 1 || got[0].PID != 1 ||
		got[0].UUID != "GPU-0" {
		t.Errorf("%+v", got)
	}
}
