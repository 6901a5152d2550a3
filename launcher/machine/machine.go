// Package machine reads what a plan depends on: it completes an inventory of GPUs with
// the topology, the GPUs' places, RDMA devices, the CPU quota and the place for control
// groups. [Read] takes them from the live machine or from a captured one below a folder;
// [Begin] does the same while the GPUs are still being asked about.
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
	return Begin(root).Complete(inv, visible, o)
}

// Reading is a machine of which all is being read that can be without knowing its GPUs.
type Reading struct {
	root string
	done chan struct{} // closed when the rest is known

	topology    *affinity.Topology
	topologyErr error
	quota       float64
	nics        []affinity.NIC
	cgroup      plan.CgroupPlace
}

// Begin begins to read a machine, in a goroutine that ends when it has been read.
func Begin(root string) *Reading {
	r := &Reading{root: root, done: make(chan struct{})}
	go r.read()
	return r
}

func (r *Reading) read() {
	defer close(r.done)
	r.topology, r.topologyErr = affinity.ReadTopology(r.root)
	// Neither is worth failing for: without them nothing is capped, or chosen.
	if quota, limited, err := affinity.ReadQuota(r.root); err == nil && limited {
		r.quota = quota
	}
	r.nics, _ = affinity.ReadNICs(r.root)
	r.cgroup = FindCgroup()
}

// Complete waits for the machine to have been read, and adds what depends on its GPUs; see
// [Read].
func (r *Reading) Complete(inv gpu.Inventory, visible gpu.Visible, o plan.Options) (plan.Machine,
	error) {
	<-r.done
	m := plan.Machine{Inventory: inv, Visible: visible, Topology: r.topology,
		Localities: map[int]affinity.Locality{}, Quota: r.quota, NICs: r.nics, Cgroup: r.cgroup}
	if err := r.topologyErr; err != nil {
		if o.NeedsTopology() {
			return m, err
		}
		if m.Topology, err = flatTopology(); err != nil {
			return m, err
		}
	}
	for _, unit := range visible.Units {
		m.Localities[unit.Device.Index] = readLocality(r.root, unit.Device)
	}
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
