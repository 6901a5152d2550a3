package draw

import (
	"cmp"
	"slices"

	"github.com/gpulaunch/gpulaunch/affinity"
)

// kind is what a box stands for.
type kind int

const (
	kindMachine kind = iota
	kindPackage
	kindNode
	kindL3
	kindLoose // cores that are in no box, while their neighbours are in one
)

// box is a set of cells that is drawn with a border. It holds either only cells, or other boxes
// that together have all of its cells.
type box struct {
	kind     kind
	names    []string
	nodes    []int // the indexes in Topology.Nodes of the nodes that the box stands for
	cores    coreSet
	part     bool // a piece of something whose other pieces are in other boxes
	children []*box
}

// coreSet is a set of cells, by their number in the order of drawing. A cell is a core or a part of
// one, see parts. A set of CPUs is a set of small numbers as well.
type coreSet = affinity.CPUSet

// allCores returns the physical cores in the order in which they are drawn. They are disjoint, and
// every CPU is in one of them, even if the topology lists no core for it.
func allCores(t *affinity.Topology) []affinity.CPUSet {
	var cores []affinity.CPUSet
	left := t.Online.Union(t.Allowed)
	for _, core := range t.Cores {
		if set := core.CPUs.Intersect(left); !set.IsEmpty() {
			cores = append(cores, set)
			left = left.Subtract(set)
		}
	}
	for cpu := range left.All() {
		cores = append(cores, affinity.CPUs(cpu))
	}
	return cores
}

// parts returns the parts of a core that are drawn as cells of their own. There is more than one
// where packages or nodes cut through the core, as they do in virtual machines whose CPUs are on
// alternate nodes: a cell that stood for the whole core could only be in one of them.
func parts(t *affinity.Topology, core affinity.CPUSet) []affinity.CPUSet {
	all := []affinity.CPUSet{core}
	cut := func(set affinity.CPUSet) {
		for i, part := range all {
			inside, outside := part.Intersect(set), part.Subtract(set)
			if !inside.IsEmpty() && !outside.IsEmpty() {
				all[i] = inside
				all = append(all, outside)
			}
		}
	}
	for _, p := range t.Packages {
		cut(p.CPUs)
	}
	for _, n := range t.Nodes {
		cut(n.CPUs)
	}
	slices.SortFunc(all, func(a, b affinity.CPUSet) int { return cmp.Compare(a.Min(), b.Min()) })
	return all
}

// machineBox returns the topology's packages, nodes and L3 caches as nested boxes of cells, whose
// CPUs are given. Of two equal sets, the one that is inserted first is outside.
func machineBox(t *affinity.Topology, cells []affinity.CPUSet) *box {
	root := &box{kind: kindMachine, cores: cellsWithin(cells, t.Online.Union(t.Allowed))}
	insert := func(kind kind, name string, cpus affinity.CPUSet, nodes ...int) {
		within := cellsWithin(cells, cpus)
		root.insert(&box{kind: kind, names: []string{name}, nodes: nodes, cores: within})
	}
	for _, p := range t.Packages {
		insert(kindPackage, packageName(p.ID), p.CPUs)
	}
	for i, n := range t.Nodes {
		insert(kindNode, nodeName(n.ID), n.CPUs, i)
	}
	for _, c := range t.L3s {
		insert(kindL3, "one L3 cache", c.CPUs)
	}
	root.finish()
	return root
}

// cellsWithin returns the cells whose lowest CPU is in set. So a cache that cuts through a core does
// not seem to cross its neighbours.
func cellsWithin(cells []affinity.CPUSet, set affinity.CPUSet) coreSet {
	var members []int
	for i, cell := range cells {
		if set.Contains(cell.Min()) {
			members = append(members, i)
		}
	}
	return affinity.CPUs(members...)
}

// insert puts b, whose cores are among those of d, into d or into one of the boxes in it. A package
// or node that crosses other boxes is put into them in pieces. A cache that crosses others is left
// out: two pairs of brackets would say that there are two caches.
func (d *box) insert(b *box) {
	if b.cores.IsEmpty() {
		return
	}
	var inside, outside []*box
	for _, child := range d.children {
		common := child.cores.Intersect(b.cores)
		switch {
		case common.IsEmpty():
			outside = append(outside, child)
		case b.cores.SubsetOf(child.cores):
			child.insert(b)
			return
		case child.cores.SubsetOf(b.cores):
			inside = append(inside, child)
		case b.kind == kindL3:
			return
		default:
			b.part = true
			piece := *b
			piece.cores = common
			child.insert(&piece)
			b.cores = b.cores.Subtract(common)
			outside = append(outside, child)
		}
	}
	if b.cores.IsEmpty() {
		return
	}
	b.children = inside
	d.children = append(outside, b)
}

// finish sorts the children of all boxes, puts the cores that are in no child into a box of their
// own, and merges a box with its only child if both have the same cores. An L3 cache without
// children keeps its box, which shows the cores that share it.
func (d *box) finish() {
	if d.part {
		d.names = []string{"part of " + d.names[0]}
	}
	if len(d.children) > 0 {
		loose := d.cores
		for _, child := range d.children {
			loose = loose.Subtract(child.cores)
		}
		if !loose.IsEmpty() {
			d.children = append(d.children, &box{kind: kindLoose, cores: loose})
		}
	}
	for _, child := range d.children {
		child.finish()
	}
	slices.SortFunc(d.children, func(a, b *box) int {
		class := cmp.Compare(a.sortClass(), b.sortClass())
		return cmp.Or(class, cmp.Compare(a.cores.Min(), b.cores.Min()))
	})
	if d.kind != kindMachine && len(d.children) == 1 && !d.children[0].plain() {
		d.merge(d.children[0])
	}
}

func (d *box) merge(child *box) {
	d.names = append(d.names, child.names...)
	d.nodes = append(d.nodes, child.nodes...)
	d.children = child.children
}

// plain reports whether a box is drawn as cells in the box around it, without a heading.
func (d *box) plain() bool {
	return len(d.children) == 0 && (d.kind == kindL3 || d.kind == kindLoose)
}

// sortClass puts plain boxes before those with headings. Below a heading they would seem to belong
// to it.
func (d *box) sortClass() int {
	if d.plain() {
		return 0
	}
	return 1
}
