package affinity

import (
	"fmt"
	"slices"
	"strings"
)

// MemoryNodes returns the NUMA nodes for the memory of a worker on these CPUs, ascending: the CPUs' own nodes that have
// memory which this process may use. If there is none it is the nearest such nodes by distance, or all of them where
// the distances are not known, with a warning of one line. A node with a device's own memory (a GPU's) is never among
// them. Without any node, which a warning says too, the memory policy is best left alone.
func (t *Topology) MemoryNodes(cpus CPUSet) (nodes []int, warning string) {
	var own, found []Node
	for _, n := range t.Nodes {
		if n.CPUs.intersects(cpus) {
			own = append(own, n)
		}
	}
	for _, n := range own {
		if t.hasMemory(n) {
			found = append(found, n)
		}
	}
	if len(found) > 0 {
		return nodeIDs(found), ""
	}
	what := "the nearest that have some"
	for _, n := range own {
		found = append(found, t.nearest(n, t.hasMemory)...)
	}
	if len(found) == 0 {
		what = "all that have some"
		found = slices.DeleteFunc(slices.Clone(t.Nodes), func(n Node) bool { return !t.hasMemory(n) })
	}
	if len(found) == 0 {
		return nil, fmt.Sprintf("no NUMA node is known to have memory for CPUs %s that this process may use; leaving the memory policy alone", cpus)
	}
	nodes = nodeIDs(found)
	return nodes, fmt.Sprintf("the NUMA nodes of CPUs %s (%s) have no memory that this process may use; using %s, %s",
		cpus, CPUs(nodeIDs(own)...), what, CPUs(nodes...))
}

// hasMemory reports whether a program's memory may be put on the node.
func (t *Topology) hasMemory(n Node) bool {
	return n.MemoryBytes > 0 && !n.DeviceMemory && (t.AllowedMems == nil || slices.Contains(t.AllowedMems, n.ID))
}

func nodeIDs(nodes []Node) []int {
	var ids []int
	for _, n := range nodes {
		ids = append(ids, n.ID)
	}
	slices.Sort(ids)
	return slices.Compact(ids)
}

// readAllowedMems returns the nodes in the line "Mems_allowed_list:" of /proc/self/status (proc_pid_status(5)), which
// are those of the cpuset that have memory. Captures without that file have the cpuset's own.
func readAllowedMems(s *sysfs) []int {
	status, _ := s.read("/proc/self/status")
	for line := range strings.Lines(status) {
		if list, ok := strings.CutPrefix(line, "Mems_allowed_list:"); ok {
			if set, err := ParseCPUList(list); err == nil && !set.IsEmpty() {
				return slices.Collect(set.All())
			}
		}
	}
	if set, ok := readCpuset(s, func(c cpusetFS) string { return c.mems }); ok && !set.IsEmpty() {
		return slices.Collect(set.All())
	}
	return nil
}
