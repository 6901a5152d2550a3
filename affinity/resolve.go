package affinity

import (
	"fmt"
	"strings"
)

// resolve returns the allowed CPUs near a device or, in mode socket, those of its packages. The
// warnings say what is wrong with what is known about the device, whose name they lack. If none of the CPUs is allowed,
// or what is known names only CPUs that the machine does not have, a strict request fails; any
// other gets CPUs that are further away.
func (t *Topology) resolve(req Request, loc Locality) (CPUSet, []string, error) {
	local, warnings := t.localCPUs(loc)
	if local.IsEmpty() {
		if req.Strict && len(warnings) > 0 {
			// Without a source to use instead, all warnings are about what was ignored.
			problem := strings.ReplaceAll(strings.Join(warnings, "; "), ignoringIt, "")
			return CPUSet{}, nil, fmt.Errorf("%s: %s; nothing else says which CPUs are near it: "+
				"turn strict affinity off, or choose the CPUs with affinity map", loc.Name, problem)
		}
		local = t.Allowed
	}
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
	warning := fmt.Sprintf("none of its %s %s is allowed (allowed: %s); using %s, CPUs %s",
		what, local, t.Allowed, place, wider)
	return wider, append(warnings, warning), nil
}

// ignoringIt ends the warnings about what is known of a device and cannot be used.
const ignoringIt = "; ignoring it"

// cpuSource is something that says which CPUs are near a device.
type cpuSource struct {
	name string
	cpus CPUSet
}

// localCPUs returns the online CPUs near a device. It takes them from the first source that knows
// them: sysfs, the device's library, the device's NUMA node, the nodes nearest to that node. If
// none does, the set is empty. Warnings say which sources disagree, and which ones name only what
// the machine does not have.
func (t *Topology) localCPUs(loc Locality) (cpus CPUSet, warnings []string) {
	node, known := t.node(loc.NUMANode)
	var chosen cpuSource
	for _, source := range []cpuSource{
		{"sysfs local_cpus", loc.CPUs},
		{"the device library", loc.Reported},
		{fmt.Sprintf("NUMA node %d", loc.NUMANode), node.CPUs},
	} {
		online := source.cpus.Intersect(t.Online)
		switch {
		case source.cpus.IsEmpty():
		case online.IsEmpty():
			warnings = append(warnings, fmt.Sprintf("%s says its CPUs are %s, but none of them "+
				"is online here (online: %s)"+ignoringIt, source.name, source.cpus, t.Online))
		case chosen.cpus.IsEmpty():
			chosen = cpuSource{source.name, online}
		case !chosen.cpus.Equal(online):
			warnings = append(warnings, fmt.Sprintf("%s says its CPUs are %s, %s says %s; "+
				"using %s", chosen.name, chosen.cpus, source.name, online, chosen.name))
		}
	}
	if chosen.cpus.IsEmpty() && known {
		chosen.cpus = t.nearestCPUs(node)
	}
	if !known && loc.NUMANode >= 0 {
		warnings = append(warnings, fmt.Sprintf("its NUMA node %d does not exist on this "+
			"machine"+ignoringIt, loc.NUMANode))
	}
	return chosen.cpus, warnings
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
