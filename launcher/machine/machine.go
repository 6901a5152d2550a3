// Package machine reads what a plan depends on. It adds to an inventory of GPUs the topology, where
// the GPUs are, the RDMA devices, the CPU quota, and the place for control groups.
//
// [Read] reads them from the live machine or from a captured one below a folder. [Begin] does the
// same while the inventory is still being made.
package machine

import (
	"errors"
	"io/fs"

	"github.com/gpulaunch/gpulaunch/affinity"
	"github.com/gpulaunch/gpulaunch/gpu"
	"github.com/gpulaunch/gpulaunch/launcher/plan"
)

// Read completes an inventory with what it reads below root; "" is the live machine. A GPU whose
// location cannot be read is not an error: its locality is unknown then, and the plan says so. A
// topology that cannot be read is an error only if the options need it. Otherwise the machine is
// taken as one node without structure.
func Read(root string, inv gpu.Inventory, visible gpu.Visible, o plan.Options) (plan.Machine,
	error) {
	return Begin(root).Complete(inv, visible, o)
}

// Reading is a machine that is being read, as far as that does not need its GPUs.
type Reading struct {
	root string
	done chan struct{} // closed when the fields below are set
	// cgroupDone is closed when cgroup is set, which is the first.
	cgroupDone chan struct{}

	topology    *affinity.Topology
	topologyErr error
	quota       float64
	nics        []affinity.NIC
	cgroup      plan.CgroupPlace
}

// Begin starts to read a machine, in a goroutine that ends when it has been read.
func Begin(root string) *Reading {
	r := &Reading{root: root, done: make(chan struct{}), cgroupDone: make(chan struct{})}
	go r.read()
	return r
}

func (r *Reading) read() {
	defer close(r.done)
	r.cgroup = FindCgroup()
	close(r.cgroupDone)
	r.topology, r.topologyErr = affinity.ReadTopology(r.root)
	// Quota and RDMA devices are optional: without a quota, thread counts are not capped, and
	// without RDMA devices, none is chosen.
	if quota, limited, err := affinity.ReadQuota(r.root); err == nil && limited {
		r.quota = quota
	}
	r.nics, _ = affinity.ReadNICs(r.root)
}

// Cgroup returns where control groups of jobs can be made. It waits only for that.
func (r *Reading) Cgroup() plan.CgroupPlace {
	<-r.cgroupDone
	return r.cgroup
}

// Complete waits until the machine has been read, and adds what depends on its GPUs; see [Read].
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

// flatTopology returns a topology of one node in which each CPU that this process may use is a core
// of its own.
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

// readLocality returns where a GPU is, according to both sysfs and NVML.
func readLocality(root string, d gpu.Device) affinity.Locality {
	loc, err := affinity.ReadLocality(root, d.PCIBusID)
	if err != nil {
		if !errors.Is(err, fs.ErrNotExist) {
			// The address cannot be looked up in sysfs.
			loc = affinity.Locality{}
		}
		loc.NUMANode = -1
	}
	loc.Name = d.Label()
	// If the mask of NVML cannot be parsed, what sysfs says is enough.
	if reported, err := affinity.ParseCPUList(d.CPUAffinity); err == nil {
		loc.Reported = reported
	}
	return loc
}
