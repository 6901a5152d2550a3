package draw

import (
	"slices"
	"strconv"

	"github.com/gpulaunch/gpulaunch/affinity"
)

// view is what both ways of drawing start from.
type view struct {
	topology *affinity.Topology
	root     *box
	cells    []cell // one for each core
	workers  []Worker
	marks    []string // of the workers
	devices  map[int][]Device
	bare     []affinity.Node // those that are in no box
	homeless []Device        // those whose node is unknown
	note     string
}

// cell is a core and who may use it.
type cell struct {
	cpus    affinity.CPUSet
	allowed affinity.CPUSet
	owners  []int // the places of its workers in view.workers, ascending
}

const (
	markUnused     = "·"
	markNotAllowed = "×"
	markShared     = "+"
	markPart       = "'" // follows another mark
)

func newView(p Picture) (*view, error) {
	t := p.Topology
	if t == nil {
		return nil, errNoTopology
	}
	cores := allCores(t)
	v := &view{topology: t, root: machineBox(t, cores), workers: p.Workers, marks: marks(p.Workers), note: p.Note}
	for _, set := range cores {
		v.cells = append(v.cells, newCell(set, t.Allowed, p.Workers))
	}
	v.placeNodes()
	v.placeDevices(p.Devices)
	return v, nil
}

func newCell(cpus, allowed affinity.CPUSet, workers []Worker) cell {
	c := cell{cpus: cpus, allowed: cpus.Intersect(allowed)}
	for i, w := range workers {
		if !c.allowed.Intersect(w.CPUs).IsEmpty() {
			c.owners = append(c.owners, i)
		}
	}
	return c
}

// placeNodes leaves each node to the first box that stands for it, and finds those that no box does, as they have no
// CPUs.
func (v *view) placeNodes() {
	placed := map[int]bool{}
	v.root.each(func(b *box) {
		var first []int
		for _, i := range b.nodes {
			if !placed[i] {
				first = append(first, i)
			}
			placed[i] = true
		}
		b.nodes = first
	})
	for i, node := range v.topology.Nodes {
		if !placed[i] {
			v.bare = append(v.bare, node)
		}
	}
}

func (d *box) each(visit func(*box)) {
	visit(d)
	for _, child := range d.children {
		child.each(visit)
	}
}

// placeDevices puts the devices at their node, or where nothing says where they are.
func (v *view) placeDevices(devices []Device) {
	v.devices = map[int][]Device{}
	for _, d := range devices {
		if _, ok := v.node(d.Node); ok {
			v.devices[d.Node] = append(v.devices[d.Node], d)
		} else {
			v.homeless = append(v.homeless, d)
		}
	}
}

func (v *view) node(id int) (affinity.Node, bool) {
	i := slices.IndexFunc(v.topology.Nodes, func(n affinity.Node) bool { return n.ID == id })
	if i < 0 {
		return affinity.Node{}, false
	}
	return v.topology.Nodes[i], true
}

// mark returns what stands in a core's cell, without markPart.
func (v *view) mark(c cell) string {
	switch {
	case c.allowed.IsEmpty():
		return markNotAllowed
	case len(c.owners) == 0:
		return markUnused
	case len(c.owners) > 1:
		return markShared
	}
	return v.marks[c.owners[0]]
}

// split reports whether only some of the core's threads are allowed.
func (c cell) split() bool { return !c.allowed.IsEmpty() && !c.allowed.Equal(c.cpus) }

// cpusOf returns the CPUs of the cores at some places.
func (v *view) cpusOf(cores places) affinity.CPUSet {
	var set affinity.CPUSet
	for i := range cores.All() {
		set = set.Union(v.cells[i].cpus)
	}
	return set
}

// digits are the marks of workers while one character is enough.
const digits = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"

// marks returns the marks of the workers, all different: their ranks as one digit each, or as decimal numbers where
// there are too many of them. Where the ranks do not do for that, their places in the list stand in for them.
func marks(workers []Worker) []string {
	short := len(workers) <= len(digits)
	most := len(digits)
	if !short {
		most = maxRank
	}
	byRank := distinctRanks(workers, most)
	all := make([]string, len(workers))
	for i, w := range workers {
		n := i
		if byRank {
			n = w.Rank
		}
		if all[i] = strconv.Itoa(n); short {
			all[i] = digits[n : n+1]
		}
	}
	return all
}

// maxRank keeps marks of more than one character narrower than the narrowest line.
const maxRank = 1e6

func distinctRanks(workers []Worker, below int) bool {
	seen := map[int]bool{}
	for _, w := range workers {
		if w.Rank < 0 || w.Rank >= below || seen[w.Rank] {
			return false
		}
		seen[w.Rank] = true
	}
	return true
}

// nearest returns the IDs of the nodes with CPUs from which a node without is reached best: its initiators, else those at
// the smallest distance, which may be all. Nil: unknown.
func (v *view) nearest(node affinity.Node) []int {
	if len(node.Initiators) > 0 {
		return node.Initiators
	}
	var ids []int
	least := 0
	for _, other := range v.topology.Nodes {
		d, known := node.Distances[other.ID]
		if !known || other.CPUs.IsEmpty() || len(ids) > 0 && d > least {
			continue
		}
		if len(ids) > 0 && d < least {
			ids = nil
		}
		ids, least = append(ids, other.ID), d
	}
	slices.Sort(ids)
	return ids
}
