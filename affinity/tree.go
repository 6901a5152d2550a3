package affinity

import (
	"cmp"
	"slices"
)

// domain is a set of CPUs in the machine's tree. Its children are disjoint subsets of it, and the
// leaves of the tree are the physical cores.
type domain struct {
	cpus     CPUSet
	children []*domain
}

// cpuTree is the machine's tree and the CPUs in it that are allowed.
type cpuTree struct {
	root    *domain
	allowed CPUSet
}

func (t *Topology) tree() cpuTree { return cpuTree{t.rootDomain(), t.Allowed} }

// restrict returns the tree of a set of allowed CPUs. The order is that of hwloc-distrib: for all
// allowed CPUs it is the order of the whole machine, which CPUs that are not allowed influence. For
// fewer CPUs, the domains are sorted again by the CPUs that are left in them.
func (t cpuTree) restrict(set CPUSet) *domain {
	restricted := t.root.restrict(set)
	if !set.Equal(t.allowed) {
		restricted.sort()
	}
	return restricted
}

// rootDomain builds the machine's tree. The sets that the kernel is least likely to get wrong are
// inserted first. A set that overlaps an earlier one, without containing it or being inside it, is
// left out.
func (t *Topology) rootDomain() *domain {
	root := &domain{cpus: t.Online.Union(t.Allowed)}
	root.addCores(t.Cores)
	for _, p := range t.Packages {
		root.insert(p.CPUs)
	}
	for _, g := range t.Groups {
		root.insert(g.CPUs)
	}
	for _, c := range t.L3s {
		root.insert(c.CPUs)
	}
	for _, set := range t.memorySets() {
		root.insert(set)
	}
	root.sort()
	return root
}

// addCores adds the leaves. Every CPU of the root gets into exactly one of them. A CPU that belongs
// to no known core becomes a core of its own.
func (d *domain) addCores(cores []Core) {
	remaining := d.cpus
	add := func(set CPUSet) {
		if set = set.Intersect(remaining); !set.IsEmpty() {
			remaining = remaining.Subtract(set)
			d.children = append(d.children, &domain{cpus: set})
		}
	}
	for _, core := range cores {
		add(core.CPUs)
	}
	for cpu := range remaining.All() {
		add(CPUs(cpu))
	}
}

// insert adds a domain for set between d and the cores. It does nothing if the tree has that set
// already, if the set is inside a core, or if it overlaps a domain without containing it or being
// inside it.
func (d *domain) insert(set CPUSet) {
	set = set.Intersect(d.cpus)
	if set.IsEmpty() || set.Equal(d.cpus) || len(d.children) == 0 {
		return
	}
	var inside, outside []*domain
	for _, child := range d.children {
		switch {
		case !child.cpus.intersects(set):
			outside = append(outside, child)
		case set.SubsetOf(child.cpus):
			child.insert(set)
			return
		case child.cpus.SubsetOf(set):
			inside = append(inside, child)
		default:
			return
		}
	}
	d.children = append(outside, &domain{cpus: set, children: inside})
}

// restrict returns the tree below d with the CPUs of set only, in the same order.
func (d *domain) restrict(set CPUSet) *domain {
	kept := &domain{cpus: d.cpus.Intersect(set)}
	for _, child := range d.children {
		if child.cpus.intersects(set) {
			kept.children = append(kept.children, child.restrict(set))
		}
	}
	return kept
}

// sort orders the children of every domain from d down by their lowest CPU.
func (d *domain) sort() {
	slices.SortFunc(d.children, func(a, b *domain) int {
		return cmp.Compare(a.cpus.Min(), b.cpus.Min())
	})
	for _, child := range d.children {
		child.sort()
	}
}

// cores returns the leaves of the tree below d, in order.
func (d *domain) cores() []*domain {
	if len(d.children) == 0 {
		if d.cpus.IsEmpty() {
			return nil
		}
		return []*domain{d}
	}
	var cores []*domain
	for _, child := range d.children {
		cores = append(cores, child.cores()...)
	}
	return cores
}
