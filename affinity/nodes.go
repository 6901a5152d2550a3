package affinity

import (
	"slices"
	"strconv"
	"strings"
)

const nodeDir = "/sys/devices/system/node"

func nodePath(id int) string { return nodeDir + "/node" + strconv.Itoa(id) }

// readNodes returns the NUMA nodes, ordered by ID. A kernel without NUMA shows none, which counts
// as one node 0 with all CPUs.
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
			// The firmware is wrong, because a CPU belongs to one node only. Nobody knows which
			// CPUs this node really has.
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

// readMemTotal returns the bytes in the "MemTotal: N kB" line of a meminfo file. Without such a
// line it returns 0.
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

// readDistances returns a node's distances to all nodes. The file has one number for each node, in
// the order of their IDs. A file with more or fewer numbers is ignored.
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

// readInitiators returns the other nodes that reach a node's memory fastest. The folder access1,
// which exists since Linux 5.10, leaves out initiators that are not CPUs. Older kernels have
// access0 only.
func readInitiators(s *sysfs, id int) []int {
	for _, class := range []string{"/access1", "/access0"} {
		ids, err := s.numbered(nodePath(id)+class+"/initiators", "node")
		if err == nil {
			return slices.Collect(ids.Subtract(CPUs(id)).All())
		}
	}
	return nil
}
