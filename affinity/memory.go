package affinity

import "math"

// memorySets returns the sets of CPUs that the memory adds to the machine's tree: those near each
// NUMA node and, where the distances show such groups, those of nodes that are closer to each other
// than to the rest.
func (t *Topology) memorySets() []CPUSet {
	var sets []CPUSet
	for _, node := range t.Nodes {
		sets = append(sets, t.nearCPUs(node))
	}
	return append(sets, nearbyGroups(t.nodeDistances())...)
}

// nearCPUs returns the CPUs near a node's memory: the node's own and those of its initiators. If it
// has neither, they are the CPUs of the nearest nodes, provided that it is nearer to some than to
// others.
func (t *Topology) nearCPUs(node Node) CPUSet {
	cpus := node.CPUs
	for _, id := range node.Initiators {
		initiator, _ := t.node(id)
		cpus = cpus.Union(initiator.CPUs)
	}
	if !cpus.IsEmpty() {
		return cpus
	}
	nearest := t.nearest(node, func(Node) bool { return true })
	if len(nearest) == len(t.Nodes)-1 {
		return CPUSet{}
	}
	if len(nearest) > 0 && node.Distances[nearest[0].ID] <= node.Distances[node.ID] {
		return CPUSet{} // a node is nearest to itself, so these distances are wrong
	}
	for _, other := range nearest {
		cpus = cpus.Union(other.CPUs)
	}
	return cpus
}

// nearest returns the other nodes that fit and have the smallest known distance from node.
func (t *Topology) nearest(node Node, fits func(Node) bool) []Node {
	var nearest []Node
	least := math.MaxInt
	for _, other := range t.Nodes {
		d, known := node.Distances[other.ID]
		if !known || other.ID == node.ID || d > least || !fits(other) {
			continue
		}
		if d < least {
			nearest, least = nil, d
		}
		nearest = append(nearest, other)
	}
	return nearest
}
