package affinity

import "fmt"

// resolve returns the allowed CPUs near a device or, in mode socket, those of its packages. The
// warnings say what is wrong with what is known about the device. If none of the CPUs is allowed, a
// strict request fails; any other gets CPUs that are further away.
func (t *Topology) resolve(req Request, loc Locality) (CPUSet, []string, error) {
	local, warnings := t.localCPUs(loc)
	what := "local CPUs"
	if req.Mode == ModeSocket {
		local, what = t.wholePackages(local), "package's CPUs"
	}
	if near := local.Intersect(t.Allowed); !near.IsEmpty() {
		return near, warnings, nil
	}
	if req.Strict {
		return CPUSet{}, nil, fmt.Errorf("%s: none of its %s %s is allowed (allowed: %s); allow "+
			"some of them, or turn strict affinity off", loc.Name, what, local, t.Allowed)
	}
	wider, place := t.widen(local)
	warning := fmt.Sprintf("%s: none of its %s %s is allowed (allowed: %s); using %s, CPUs %s",
		loc.Name, what, local, t.Allowed, place, wider)
	return wider, append(warnings, warning), nil
}

// localCPUs returns the online CPUs near a device. It takes them from the first source that knows
// them: sysfs, the device's library, the device's NUMA node, the nodes nearest to that node. If
// none does, it returns all allowed CPUs. A warning says which sources disagree.
func (t *Topology) localCPUs(loc Locality) (CPUSet, []string) {
	node, known := t.node(loc.NUMANode)
	sources := []struct {
		name string
		cpus CPUSet
	}{
		{"sysfs local_cpus", loc.CPUs.Intersect(t.Online)},
		{"the device library", loc.Reported.Intersect(t.Online)},
		{fmt.Sprintf("NUMA node %d", loc.NUMANode), node.CPUs.Intersect(t.Online)},
	}
	var chosen CPUSet
	var chosenName string
	var warnings []string
	for _, source := range sources {
		switch {
		case source.cpus.IsEmpty():
		case chosen.IsEmpty():
			chosen, chosenName = source.cpus, source.name
		case !chosen.Equal(source.cpus):
			warnings = append(warnings, fmt.Sprintf("%s: %s says its CPUs are %s, %s says %s; "+
				"using %s", loc.Name, chosenName, chosen, source.name, source.cpus, chosenName))
		}
	}
	if chosen.IsEmpty() && known {
		chosen = t.nearestCPUs(node)
	}
	if !known && loc.NUMANode >= 0 {
		warnings = append(warnings, fmt.Sprintf("%s: its NUMA node %d does not exist on this "+
			"machine; ignoring it", loc.Name, loc.NUMANode))
	}
	if chosen.IsEmpty() {
		chosen = t.Allowed
	}
	return chosen, warnings
}

// nearestCPUs returns the CPUs of the node with CPUs that is nearest to a node without any. If
// several are equally near, it returns the CPUs of all of them.
func (t *Topology) nearestCPUs(node Node) CPUSet {
	var cpus CPUSet
	hasCPUs := func(n Node) bool { return n.CPUs.intersects(t.Online) }
	for _, other := range t.nearest(node, hasCPUs) {
		cpus = cpus.Union(other.CPUs)
	}
	return cpus.Intersect(t.Online)
}

// widen returns allowed CPUs that are not far from local, none of which is allowed, and words for
// where they are: in the same NUMA nodes, else in the same packages, else anywhere.
func (t *Topology) widen(local CPUSet) (CPUSet, string) {
	if near := t.wholeNodes(local).Intersect(t.Allowed); !near.IsEmpty() {
		return near, "its NUMA node"
	}
	if near := t.wholePackages(local).Intersect(t.Allowed); !near.IsEmpty() {
		return near, "its package"
	}
	return t.Allowed, "the whole machine"
}
