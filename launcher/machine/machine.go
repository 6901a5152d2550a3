// Package machine reads what a plan depends on: it completes an inventory of GPUs with
// the topology, the GPUs' places, RDMA devices, the CPU quota and the place for control
// groups. [Read] takes them from the live machine or from a captured one below a folder.
package machine

import (
	"errors"
	"io/fs"

	"github.com/gpulaunch/gpulaunch/affinity"
	"github.com/gpulaunch/gpulaunch/gpu"
	"github.com/gpulaunch/gpulaunch/launcher/plan"
)

// Read completes an inventory with the machine's topology, read below root ("" is
// the live machine). A GPU whose place cannot be read is not an error: its locality is
// unknown then, and the plan says so. A topology that cannot be read is an error only if
// the options need it; otherwise the machine is taken as one node without structure.
func Read(root string, inv gpu.Inventory, visible gpu.Visible, o plan.Options) (plan.Machine,
	error) {
	m := plan.Machine{Inventory: inv, Visible: visible, Localities: map[int]affinity.Locality{},
		Cgroup: FindCgroup()}
	topology, err := affinity.ReadTopology(root)
	if err != nil && !o.NeedsTopology() {
		topology, err = flatTopology()
	}
	if err != nil {
		return m, err
	}
	m.Topology = topology
	for _, unit := range visible.Units {
		m.Localities[unit.Device.Index] = readLocality(root, unit.Device)
	}
	// Neither is worth failing for: without them nothing is capped, or chosen.
	if quota, limited, err := affinity.ReadQuota(root); err == nil && limited {
		m.Quota = quota
	}
	m.NICs, _ = affinity.ReadNICs(root)
	return m, nil
}

// flatTopology knows only which CPUs this process may use: one node, and each
// CPU a core of its own.
func flatTopology() (*affinity.Topology, error) {
	allowed, err := affinity.Current(0)
	if err != nil {
		return nil, err
	}
	t := &affinity.Topology{Online: allowed, Allowed: allowed,
		Nodes: []affinity.Node{{CPUs: allowed}}}
	for cpu := range allowed.All() {
		t.Cores = append(t.Cores, affinity.Core{ID: len(t.Cores), Package: -1,
			CPUs: affinity.CPUs(cpu)})
	}
	return t, nil
}

// readLocality puts together what sysfs and what NVML say of a GPU's place.
func readLocality(root string, d gpu.Device) affinity.Locality {
	loc, err := affinity.ReadLocality(root, d.PCIBusID)
	if err != nil {
		if !errors.Is(err, fs.ErrNotExist) {
			// An address that sysfs cannot be asked about.
			loc = affinity.Locality{}
		}
		loc.NUMANode = -1
	}
	loc.Name = d.Label()
	// A mask that does not parse is as good as none: sysfs remains.
	if reported, err := affinity.ParseCPUList(d.CPUAffinity); err == nil {
		loc.Reported = reported
	}
	return loc
}
