package affinity

import (
	"fmt"
	"slices"
	"strings"
)

// MemoryNodes returns, for each worker's CPUs, the NUMA nodes for the memory of the worker, in
// ascending order. They are the CPUs' own nodes, as far as these have memory that this process may
// use. If none of them does, they are the nearest nodes that do or, where distances are unknown,
// all nodes that do; a warning says so. Nodes whose memory belongs to a device are never among
// them.
//
// If there are no nodes for a worker, with a warning as well, the caller should not set a memory
// policy. Each warning is one line, and names the CPUs of all the workers that it is about.
func (t *Topology) MemoryNodes(workers []CPUSet) (nodes [][]int, warnings []string) {
	nodes = make([][]int, len(workers))
	var all []shortage
	for i, cpus := range workers {
		var s shortage
		nodes[i], s = t.memoryNodes(cpus)
		if s.kind == noShortage {
			continue
		}
		same := func(other shortage) bool { return other.kind == s.kind }
		if k := slices.IndexFunc(all, same); k >= 0 {
			all[k] = all[k].merge(s)
		} else {
			all = append(all, s)
		}
	}
	for _, s := range all {
		warnings = append(warnings, s.String())
	}
	return nodes, warnings
}

// shortageKind says why the memory of CPUs is not that of their own nodes, and what is used.
type shortageKind int

const (
	noShortage shortageKind = iota
	nearestInstead
	allInstead
	unknownNode // of the CPUs, so that all nodes are used
	noMemory
)

// shortage says which CPUs have no memory on their own nodes, and which nodes are used instead.
type shortage struct {
	kind           shortageKind
	cpus, own, use CPUSet // own and use are nodes
}

func (s shortage) merge(o shortage) shortage {
	return shortage{s.kind, s.cpus.Union(o.cpus), s.own.Union(o.own), s.use.Union(o.use)}
}

func (s shortage) String() string {
	const none = "the NUMA nodes of CPUs %s (%s) have no memory that this process may use; "
	switch s.kind {
	case nearestInstead:
		return fmt.Sprintf(none+"using the nearest nodes that have some, %s", s.cpus, s.own, s.use)
	case allInstead:
		return fmt.Sprintf(none+"using all nodes that have some, %s", s.cpus, s.own, s.use)
	case unknownNode:
		return fmt.Sprintf("nobody knows the NUMA node of CPUs %s; using the memory of all nodes "+
			"that have some, %s", s.cpus, s.use)
	case noMemory:
		return fmt.Sprintf("no NUMA node is known to have memory that this process may use "+
			"for CPUs %s; leaving the memory policy unchanged", s.cpus)
	}
	return ""
}

// memoryNodes returns the nodes for the memory of one worker.
func (t *Topology) memoryNodes(cpus CPUSet) ([]int, shortage) {
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
		return nodeIDs(found), shortage{}
	}
	kind := nearestInstead
	for _, n := range own {
		found = append(found, t.nearest(n, t.hasMemory)...)
	}
	if len(found) == 0 {
		kind = allInstead
		found = slices.DeleteFunc(slices.Clone(t.Nodes), func(n Node) bool {
			return !t.hasMemory(n)
		})
	}
	switch {
	case len(found) == 0:
		kind = noMemory
	case len(own) == 0:
		kind = unknownNode
	}
	nodes := nodeIDs(found)
	return nodes, shortage{kind, cpus, CPUs(nodeIDs(own)...), CPUs(nodes...)}
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
