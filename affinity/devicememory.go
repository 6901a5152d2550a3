package affinity

import "strings"

// markDeviceMemory finds the nodes whose memory is a device's own. They have memory and no CPUs, and
//
//   - the kernel has no normal memory there (node/has_normal_memory, Documentation/ABI/stable/sysfs-devices-node): a
//     driver added it as movable, so that it can be taken away again. This is what NVIDIA's driver does with the memory
//     of GPUs that are coherent with the CPUs (POWER9, Grace), and the dax driver may do it with persistent and CXL
//     memory, which is too slow to be chosen unasked;
//   - or NVIDIA's driver says that a GPU's memory is that node (/proc/driver/nvidia/gpus/*/numa_status), which is where
//     hwloc looks. The driver is asked about nodes that are left only: a driver that hangs cannot hold up the others.
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

// gpuMemoryNodes returns the nodes in the "Node: 255" lines of NVIDIA's driver; "Node: -1" is none.
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
