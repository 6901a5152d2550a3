package affinity

import (
	"slices"
	"strconv"
	"strings"
)

const nodeDir = "/sys/devices/system/node"

func nodePath(id int) string { return nodeDir + "/node" + strconv.Itoa(id) }

// readNodes reads the NUMA nodes, by ID. A kernel without NUMA has none, which is one node 0 with all CPUs.
func readNodes(s *sysfs, online CPUSet) []Node {
	ids, err := s.numbered(nodeDir, "node")
	if err != nil || ids.IsEmpty() {
		return []Node{{ID: 0, CPUs: online, MemoryBytes: readMemTotal(s, "/proc/meminfo")}}
	}
	var nodes []Node
	var claimed CPUSet
	for id := range ids.All() {
		node := readNode(s, id)
		node.CPUs = node.CPUs.Intersect(online)
		if node.CPUs.intersects(claimed) {
			// Broken firmware. A CPU has one node; what the later node really has cannot be told.
			node.CPUs = CPUSet{}
		}
		claimed = claimed.Union(node.CPUs)
		nodes = append(nodes, node)
	}
	for i := range nodes {
		nodes[i].Distances = readDistances(s, nodes[i].ID, ids)
	}
	markDeviceMemory(s, nodes)
	return nodes
}

func readNode(s *sysfs, id int) Node {
	path := nodePath(id)
	cpus, _ := s.readSet(path+"/cpumap", path+"/cpulist")
	return Node{
		ID:          id,
		CPUs:        cpus,
		MemoryBytes: readMemTotal(s, path+"/meminfo"),
		Initiators:  readInitiators(s, id),
	}
}

// readMemTotal returns the bytes of the "MemTotal: N kB" line of a meminfo file, 0 when there is none.
func readMemTotal(s *sysfs, path string) uint64 {
	text, err := s.read(path)
	if err != nil {
		return 0
	}
	_, rest, _ := strings.Cut(text, "MemTotal:")
	fields := strings.Fields(rest)
	if len(fields) == 0 {
		return 0
	}
	kib, err := strconv.ParseUint(fields[0], 10, 53)
	if err != nil {
		return 0
	}
	return kib << 10
}

// readDistances returns a node's distances. The file has one number for each node, in the order of their IDs; a file
// with another count of numbers says nothing that can be trusted.
func readDistances(s *sysfs, id int, ids CPUSet) map[int]int {
	text, err := s.read(nodePath(id) + "/distance")
	fields := strings.Fields(text)
	if err != nil || len(fields) != ids.Len() {
		return nil
	}
	distances := make(map[int]int, len(fields))
	for other := range ids.All() {
		d, err := strconv.Atoi(fields[len(distances)])
		if err != nil || d < 0 {
			return nil
		}
		distances[other] = d
	}
	return distances
}

// readInitiators returns the nodes that are the fastest initiators of a node's memory. access1 leaves out initiators
// that are no CPUs (since Linux 5.10); older kernels have access0 only.
func readInitiators(s *sysfs, id int) []int {
	for _, class := range []string{"/access1", "/access0"} {
		ids, err := s.numbered(nodePath(id)+class+"/initiators", "node")
		if err == nil {
			return slices.Collect(ids.Subtract(CPUs(id)).All())
		}
	}
	return nil
}
