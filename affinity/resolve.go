package affinity

import "fmt"

// resolve returns the allowed CPUs near a device, in mode socket those of its packages, and a warning for everything
// about them that is not as it should be. It never returns an empty set as long as one CPU is allowed. With a strict
// request it fails where it would have to look further than near the device.
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
		return CPUSet{}, nil, fmt.Errorf("%s: none of its %s %s is allowed (allowed: %s); allow some of them, or do without strict affinity",
			loc.Name, what, local, t.Allowed)
	}
	wider, place := t.widen(local)
	return wider, append(warnings, fmt.Sprintf("%s: none of its %s %s is allowed (allowed: %s); using %s, CPUs %s",
		loc.Name, what, local, t.Allowed, place, wider)), nil
}

// localCPUs returns the online CPUs near a device: by sysfs, else by the device's library, else those of its NUMA node,
// else those of the nodes nearest to it, else all. Sources that disagree are a warning.
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
			warnings = append(warnings, fmt.Sprintf("%s: %s says its CPUs are %s, %s says %s; going by %s",
				loc.Name, chosenName, chosen, source.name, source.cpus, chosenName))
		}
	}
	if chosen.IsEmpty() && known {
		chosen = t.nearestCPUs(node)
	}
	if !known && loc.NUMANode >= 0 {
		warnings = append(warnings, fmt.Sprintf("%s: its NUMA node %d does not exist on this machine; ignoring it", loc.Name, loc.NUMANode))
	}
	if chosen.IsEmpty() {
		chosen = t.Allowed
	}
	return chosen, warnings
}

// nearestCPUs returns the CPUs of the nodes nearest to one without CPUs, of all of them when several are as near.
func (t *Topology) nearestCPUs(node Node) CPUSet {
	var cpus CPUSet
	for _, other := range t.nearest(node, func(n Node) bool { return n.CPUs.intersects(t.Online) }) {
		cpus = cpus.Union(other.CPUs)
	}
	return cpus.Intersect(t.Online)
}

// widen returns the allowed CPUs of the smallest thing around local that has any, and its name: the NUMA nodes, the
// packages, the machine.
func (t *Topology) widen(local CPUSet) (CPUSet, string) {
	if near := t.wholeNodes(local).Intersect(t.Allowed); !near.IsEmpty() {
		return near, "its NUMA node"
	}
	if near := t.wholePackages(local).Intersect(t.Allowed); !near.IsEmpty() {
		return near, "its package"
	}
	return t.Allowed, "the whole machine"
}
