package launcher

import (
	"errors"
	"io/fs"

	"github.com/gpulaunch/gpulaunch/affinity"
	"github.com/gpulaunch/gpulaunch/gpu"
	"github.com/gpulaunch/gpulaunch/launcher/internal/cgroup"
)

// Machine is everything about the machine that a plan depends on.
type Machine struct {
	Inventory gpu.Inventory
	// Visible is the inventory as CUDA_VISIBLE_DEVICES restricts it.
	Visible  gpu.Visible
	Topology *affinity.Topology
	// Localities says where each GPU sits, by its Index.
	Localities map[int]affinity.Locality
	// NICs are the RDMA devices.
	NICs []affinity.NIC
	// Quota is how many CPUs' worth of time this process may use, 0 for no limit
	// (the CPU controller of its control groups).
	Quota float64
	// Cgroup is where the job's control group can be made.
	Cgroup CgroupPlace
}

// CgroupPlace is where control groups of jobs can be made, or why not.
type CgroupPlace = cgroup.Place

// FindCgroup looks for that place without changing anything.
func FindCgroup() CgroupPlace { return cgroup.Find() }

// ReadMachine completes an inventory with the machine's topology, read below
// root ("" is the live machine). A GPU whose place cannot be read is not an
// error: its locality is unknown then, and the plan says so. A topology that
// cannot be read is one only if it is needed; otherwise the machine is taken as
// one node without structure.
func ReadMachine(root string, inv gpu.Inventory, visible gpu.Visible, needTopology bool) (Machine, error) {
	m := Machine{Inventory: inv, Visible: visible, Localities: map[int]affinity.Locality{}, Cgroup: FindCgroup()}
	topology, err := affinity.ReadTopology(root)
	if err != nil && !needTopology {
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
	t := &affinity.Topology{Online: allowed, Allowed: allowed, Nodes: []affinity.Node{{CPUs: allowed}}}
	for cpu := range allowed.All() {
		t.Cores = append(t.Cores, affinity.Core{ID: len(t.Cores), Package: -1, CPUs: affinity.CPUs(cpu)})
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
	loc.Name = nameOf(d)
	// A mask that does not parse is as good as none: sysfs remains.
	if reported, err := affinity.ParseCPUList(d.CPUAffinity); err == nil {
		loc.Reported = reported
	}
	return loc
}
