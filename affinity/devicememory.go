package affinity

import "strings"

// markDeviceMemory sets DeviceMemory on the nodes whose memory belongs to a device. Such a node has
// memory but no CPUs, and one of these is true:
//
//   - The kernel has no normal memory on the node (node/has_normal_memory, see
//     Documentation/ABI/stable/sysfs-devices-node): a driver added the memory as movable, so that
//     it can be removed again. NVIDIA's driver does that with the memory of GPUs that are coherent
//     with the CPUs (POWER9, Grace). The dax driver may do it with persistent and CXL memory, which
//     is too slow to be used unless someone asks for it.
//   - NVIDIA's driver says that the node is a GPU's memory
//     (/proc/driver/nvidia/gpus/*/numa_status), which is where hwloc looks. This is read only if
//     the kernel has left a node in doubt, so that a driver that hangs does not hold up machines
//     where nothing is in doubt.
func markDeviceMemory(s *sysfs, nodes []Node) {
	normal, err := s.readParsed(nodeDir+"/has_normal_memory", ParseCPUList)
	known := err == nil && !normal.IsEmpty()
	doubtful := false
	for i := range nodes {
		n := &nodes[i]
		if n.MemoryBytes == 0 || !n.CPUs.IsEmpty() {
			continue
		}
		n.DeviceMemory = known && !normal.Contains(n.ID)
		doubtful = doubtful || !n.DeviceMemory
	}
	if !doubtful {
		return
	}
	gpus := gpuMemoryNodes(s)
	for i := range nodes {
		if n := &nodes[i]; n.CPUs.IsEmpty() && gpus.Contains(n.ID) {
			n.DeviceMemory = true
		}
	}
}

// gpuMemoryNodes returns the nodes in the lines "Node: 255" of NVIDIA's driver. A line "Node: -1"
// means that the GPU's memory is not a node.
func gpuMemoryNodes(s *sysfs) CPUSet {
	const dir = "/proc/driver/nvidia/gpus"
	gpus, _ := s.names(dir)
	var nodes CPUSet
	for _, gpu := range gpus {
		text, _ := s.read(dir + "/" + gpu + "/numa_status")
		for line := range strings.Lines(text) {
			if value, ok := strings.CutPrefix(line, "Node:"); ok {
				node, _ := ParseCPUList(value)
				nodes = nodes.Union(node)
			}
		}
	}
	return nodes
}
