package affinity

import (
	"cmp"
	"slices"
)

// domain is a set of CPUs in the machine's tree. Its children are disjoint subsets; the leaves are the physical cores.
type domain struct {
	cpus     CPUSet
	children []*domain
}

// machine is the machine's tree with what is allowed of it.
type machine struct {
	root    *domain
	allowed CPUSet
}

func (t *Topology) machine() machine { return machine{t.tree(), t.Allowed} }

// part returns the tree of a set of allowed CPUs. Like hwloc-distrib it keeps the order of the whole machine, disallowed
// CPUs included, for all allowed CPUs, and puts what is left of a smaller part in an order of its own.
func (m machine) part(set CPUSet) *domain {
	part := m.root.restrict(set)
	if !set.Equal(m.allowed) {
		part.sort()
	}
	return part
}

// tree builds the machine's tree. Sets enter it in the order of how far the kernel's word on them can be trusted, and
// one that crosses a set that is there already, without containing it or being inside it, is left out.
func (t *Topology) tree() *domain {
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

// addCores makes the leaves. Every CPU of the root is in exactly one: CPUs of no known core are cores of their own.
func (d *domain) addCores(cores []Core) {
	left := d.cpus
	add := func(set CPUSet) {
		if set = set.Intersect(left); !set.IsEmpty() {
			left = left.Subtract(set)
			d.children = append(d.children, &domain{cpus: set})
		}
	}
	for _, core := range cores {
		add(core.CPUs)
	}
	for cpu := range left.All() {
		add(CPUs(cpu))
	}
}

// insert puts a set between d and the cores, unless it is there, inside a core or crosses another one.
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

// restrict returns the tree below d with only the CPUs of set, in the same order.
func (d *domain) restrict(set CPUSet) *domain {
	kept := &domain{cpus: d.cpus.Intersect(set)}
	for _, child := range d.children {
		if child.cpus.intersects(set) {
			kept.children = append(kept.children, child.restrict(set))
		}
	}
	return kept
}

// sort puts the children of d and below by their lowest CPU.
func (d *domain) sort() {
	slices.SortFunc(d.children, func(a, b *domain) int { return cmp.Compare(a.cpus.Min(), b.cpus.Min()) })
	for _, child := range d.children {
		child.sort()
	}
}

// cores returns the leaves below d, in order.
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
