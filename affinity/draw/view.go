package draw

import (
	"slices"
	"strconv"
	"strings"

	"github.com/gpulaunch/gpulaunch/affinity"
	"github.com/gpulaunch/gpulaunch/launcher/terminal"
)

// view is a picture prepared for drawing, as text or as SVG. All text in it is sanitized.
type view struct {
	topology    *affinity.Topology
	root        *box
	cells       []cell // one for each core, or for each part of a core
	cores       int
	workers     []Worker
	marks       []string         // one for each worker
	devices     map[int][]Device // by node
	memoryNodes []affinity.Node  // the nodes that are in no box, as they have no CPUs
	unplaced    []Device         // the devices whose node is unknown
	note        []string         // its paragraphs
}

// cell is a core, or a part of one, and the workers that may use it.
type cell struct {
	core    int  // its number
	part    bool // it is not the whole core; the others have the same number
	cpus    affinity.CPUSet
	allowed affinity.CPUSet
	owners  []int // the indexes of its workers in view.workers, ascending
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
	v := &view{topology: t, marks: marks(p.Workers)}
	cores := allCores(t)
	var sets []affinity.CPUSet
	for i, core := range cores {
		all := parts(t, core)
		for _, set := range all {
			c := newCell(set, t.Allowed, p.Workers)
			c.core, c.part = i, len(all) > 1
			v.cells = append(v.cells, c)
		}
		sets = append(sets, all...)
	}
	v.root, v.cores = machineBox(t, sets), len(cores)
	for _, w := range p.Workers {
		w.Label = terminal.Sanitize(w.Label)
		v.workers = append(v.workers, w)
	}
	for paragraph := range strings.SplitSeq(strings.TrimSpace(p.Note), "\n") {
		v.note = append(v.note, terminal.Sanitize(paragraph))
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

// placeNodes removes each node from all boxes but the first that stands for it, and finds the nodes
// that are in no box.
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
			v.memoryNodes = append(v.memoryNodes, node)
		}
	}
}

func (d *box) each(visit func(*box)) {
	visit(d)
	for _, child := range d.children {
		child.each(visit)
	}
}

// placeDevices puts each device at its node, if that is known.
func (v *view) placeDevices(devices []Device) {
	v.devices = map[int][]Device{}
	for _, d := range devices {
		d.Name, d.PCI = terminal.Sanitize(d.Name), terminal.Sanitize(d.PCI)
		if _, ok := v.node(d.Node); ok {
			v.devices[d.Node] = append(v.devices[d.Node], d)
		} else {
			v.unplaced = append(v.unplaced, d)
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

// mark returns the mark in a core's cell, without markPart.
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

// cpusOf returns the CPUs of cores.
func (v *view) cpusOf(cores coreSet) affinity.CPUSet {
	var set affinity.CPUSet
	for i := range cores.All() {
		set = set.Union(v.cells[i].cpus)
	}
	return set
}

// digits holds the marks of workers, as long as one character is enough.
const digits = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"

// marks returns a different mark for each worker: its rank as one digit, or as a decimal number if
// there are too many workers. If ranks are repeated or out of range, indexes are used instead.
func marks(workers []Worker) []string {
	short := len(workers) <= len(digits)
	limit := len(digits)
	if !short {
		limit = maxRank
	}
	byRank := distinctRanks(workers, limit)
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

// maxRank is the limit for ranks as marks, so that marks are narrower than the narrowest line.
const maxRank = 1e6

// distinctRanks reports whether all ranks are different and from 0 to limit-1.
func distinctRanks(workers []Worker, limit int) bool {
	seen := map[int]bool{}
	for _, w := range workers {
		if w.Rank < 0 || w.Rank >= limit || seen[w.Rank] {
			return false
		}
		seen[w.Rank] = true
	}
	return true
}

// nearest returns the IDs of the nodes with CPUs that reach a node without CPUs best: the node's
// initiators, else the nodes at the smallest distance. It returns nil if that is unknown.
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
