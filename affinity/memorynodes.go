package affinity

import (
	"fmt"
	"slices"
	"strings"
)

// MemoryNodes returns the NUMA nodes for the memory of a worker on these CPUs, in ascending order.
// They are the CPUs' own nodes, as far as these have memory that this process may use. If none of
// them does, they are the nearest nodes that do or, where distances are unknown, all nodes that do;
// a warning of one line says so. Nodes whose memory belongs to a device are never among them.
//
// If it returns no nodes, with a warning as well, the caller should not set a memory policy.
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
	fallback := "the nearest nodes that have some"
	for _, n := range own {
		found = append(found, t.nearest(n, t.hasMemory)...)
	}
	if len(found) == 0 {
		fallback = "all nodes that have some"
		found = slices.DeleteFunc(slices.Clone(t.Nodes), func(n Node) bool {
			return !t.hasMemory(n)
		})
	}
	if len(found) == 0 {
		return nil, fmt.Sprintf("no NUMA node is known to have memory that this process may use "+
			"for CPUs %s; leaving the memory policy unchanged", cpus)
	}
	nodes = nodeIDs(found)
	return nodes, fmt.Sprintf("the NUMA nodes of CPUs %s (%s) have no memory that this process "+
		"may use; using %s, %s", cpus, CPUs(nodeIDs(own)...), fallback, CPUs(nodes...))
}

// hasMemory reports whether the node has memory that programs of this process may use.
func (t *Topology) hasMemory(n Node) bool {
	allowed := t.AllowedMems == nil || slices.Contains(t.AllowedMems, n.ID)
	return n.MemoryBytes > 0 && !n.DeviceMemory && allowed
}

func nodeIDs(nodes []Node) []int {
	var ids []int
	for _, n := range nodes {
		ids = append(ids, n.ID)
	}
	slices.Sort(ids)
	return slices.Compact(ids)
}

// readAllowedMems returns the nodes in the line "Mems_allowed_list:" of /proc/self/status
// (proc_pid_status(5)), which are the nodes of the cpuset that have memory. For captures without
// that file it returns the nodes of the cpuset.
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
