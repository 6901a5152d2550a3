// Package plantest has made-up machines for tests of plans.
package plantest

import (
	"fmt"
	"strings"
	"testing"

	"github.com/gpulaunch/gpulaunch/affinity"
	"github.com/gpulaunch/gpulaunch/gpu"
	"github.com/gpulaunch/gpulaunch/launcher/plan"
)

// TwoNodes returns a machine with two NUMA nodes of four cores with two threads each, with GPUs at
// the given nodes. visible is CUDA_VISIBLE_DEVICES, or "unset" if it is not set.
func TwoNodes(visible string, gpuNodes ...int) plan.Machine {
	t := &affinity.Topology{
		Nodes: []affinity.Node{{ID: 0, CPUs: affinity.CPUs(0, 1, 2, 3, 8, 9, 10, 11)},
			{ID: 1, CPUs: affinity.CPUs(4, 5, 6, 7, 12, 13, 14, 15)}},
	}
	for i := range 8 {
		core := affinity.CPUs(i, i+8)
		t.Cores = append(t.Cores, affinity.Core{ID: i, Package: i / 4, CPUs: core})
		t.Online = t.Online.Union(core)
	}
	t.Allowed = t.Online
	t.Packages = []affinity.Package{{ID: 0, CPUs: t.Nodes[0].CPUs}, {ID: 1, CPUs: t.Nodes[1].CPUs}}
	m := plan.Machine{Topology: t, Inventory: gpu.Inventory{Source: gpu.SourceNone,
		Reason: "there is no driver"}, Localities: map[int]affinity.Locality{}}
	for i, node := range gpuNodes {
		m.Inventory.Source, m.Inventory.Reason = gpu.SourceNVML, "NVML said so"
		d := gpu.Device{Index: i, UUID: fmt.Sprintf("GPU-%d", i), Name: "Card",
			PCIBusID: fmt.Sprintf("0000:%02x:00.0", i+1), MemoryTotalBytes: 1 << 30}
		m.Inventory.Devices = append(m.Inventory.Devices, d)
		m.Localities[d.Index] = affinity.Locality{Name: fmt.Sprintf("GPU %d (%s)", i, d.PCIBusID),
			NUMANode: node}
	}
	m.Visible = m.Inventory.Visible(strings.TrimPrefix(visible, "unset"), visible != "unset")
	return m
}

// Options returns options for a worker per GPU on one machine, which leave nothing to a default
// that varies.
func Options() plan.Options {
	return plan.Options{Workers: plan.WorkersAuto, Nodes: 1, MasterAddr: "127.0.0.1",
		MasterPort: 29500, Affinity: affinity.Policy{Mode: affinity.ModeNode},
		Visible: plan.VisibleOwn, RunID: "r"}
}

// Plan returns the plan for a machine. The test fails if there is none.
func Plan(t testing.TB, m plan.Machine, o plan.Options) plan.Plan {
	t.Helper()
	p, err := plan.New(m, o)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// MIGWithFinding returns a machine with one GPU that is in MIG mode with two instances and has a
// finding.
func MIGWithFinding() plan.Machine {
	m := TwoNodes("unset", 0)
	d := &m.Inventory.Devices[0]
	d.MIG, d.MIGInstances = true, []gpu.MIGInstance{{UUID: "MIG-1"}, {UUID: "MIG-2"}}
	d.Findings = []gpu.Finding{{Code: gpu.CodeECCUncorrected, Text: "what was found",
		Remedy: "what to do"}}
	m.Visible = m.Inventory.Visible("", false)
	return m
}
