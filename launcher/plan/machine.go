package plan

import (
	"github.com/gpulaunch/gpulaunch/affinity"
	"github.com/gpulaunch/gpulaunch/gpu"
)

// Machine has everything about the machine that a plan depends on.
type Machine struct {
	Inventory gpu.Inventory
	// Visible is the inventory as CUDA_VISIBLE_DEVICES restricts it.
	Visible  gpu.Visible
	Topology *affinity.Topology
	// Localities says where each GPU is, by its Index.
	Localities map[int]affinity.Locality
	// NICs are the RDMA devices.
	NICs []affinity.NIC
	// Quota is how much CPU time this process may use, in CPUs, and 0 for no limit (the CPU
	// controller of its control groups).
	Quota float64
	// Cgroup says where the job's control group can be made.
	Cgroup CgroupPlace
}

// CgroupPlace says where control groups of jobs can be made, or why there is no such
// place.
type CgroupPlace struct {
	// Parent is the folder of the control group that this process is in. It is "" if no control
	// group can be made there, and Reason then says why.
	Parent string `json:"parent,omitempty"`
	Reason string `json:"reason,omitempty"`
}
