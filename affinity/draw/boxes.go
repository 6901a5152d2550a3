package draw

import (
	"cmp"
	"slices"

	"github.com/gpulaunch/gpulaunch/affinity"
)

// kind says what a box stands for.
type kind int

const (
	kindMachine kind = iota
	kindPackage
	kindNode
	kindL3
	kindLoose // cores that are in no other box where their neighbours are
)

// box is a set of cores that is drawn with a border. It holds other boxes, which have all of its cores, or only cores.
type box struct {
	kind     kind
	names    []string
	nodes    []int // the places in Topology.Nodes of the nodes that the box stands for
	cores    places
	part     bool // a piece of something whose other pieces are in other boxes
	children []*box
}

// places are cores by their place in the drawing's order. They are a set of small numbers, so the set of CPUs serves.
type places = affinity.CPUSet

// allCores returns the physical cores in the order in which they are drawn: disjoint, and every CPU in one of them, also
// those that the topology knows in no core.
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

// machineBox nests the topology's packages, nodes and L3 caches. Whichever of two equal sets comes first is outside.
func machineBox(t *affinity.Topology, cores []affinity.CPUSet) *box {
	root := &box{kind: kindMachine, cores: placesOf(cores, t.Online.Union(t.Allowed))}
	for _, p := range t.Packages {
		root.insert(&box{kind: kindPackage, names: []string{packageName(p.ID)}, cores: placesOf(cores, p.CPUs)})
	}
	for i, n := range t.Nodes {
		root.insert(&box{kind: kindNode, names: []string{nodeName(n.ID)}, nodes: []int{i}, cores: placesOf(cores, n.CPUs)})
	}
	for _, c := range t.L3s {
		root.insert(&box{kind: kindL3, names: []string{"one L3 cache"}, cores: placesOf(cores, c.CPUs)})
	}
	root.finish()
	return root
}

// placesOf returns the cores that belong to set: those whose lowest CPU does. So two sets that only cut through a core
// need not be drawn as if they crossed.
func placesOf(cores []affinity.CPUSet, set affinity.CPUSet) places {
	var members []int
	for i, core := range cores {
		if set.Contains(core.Min()) {
			members = append(members, i)
		}
	}
	return affinity.CPUs(members...)
}

// insert puts b, whose cores are among those of d, where it belongs below d. A package or node that crosses other boxes
// is put into them in pieces. A cache that does is left out: two pairs of brackets would say that there are two.
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

// finish puts the children of all boxes in order, gives the cores that are in none a box of their own, and draws into
// one a box and its only child where they have the same cores. An L3 that holds nothing else keeps its box: that is
// how the cores that share it are seen.
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
		return cmp.Or(cmp.Compare(a.depthClass(), b.depthClass()), cmp.Compare(a.cores.Min(), b.cores.Min()))
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

// plain reports whether a box is drawn as cells in the box around it, with no heading of its own.
func (d *box) plain() bool {
	return len(d.children) == 0 && (d.kind == kindL3 || d.kind == kindLoose)
}

// depthClass puts plain boxes before those with headings: below a heading they would seem to belong to it.
func (d *box) depthClass() int {
	if d.plain() {
		return 0
	}
	return 1
}
