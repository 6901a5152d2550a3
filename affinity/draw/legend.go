package draw

import (
	"fmt"
	"slices"
	"strings"

	"github.com/gpulaunch/gpulaunch/affinity"
	"github.com/gpulaunch/gpulaunch/launcher/plural"
)

// entry is a line of the legend.
type entry struct {
	mark   string
	worker int // its index in view.workers, or -1 if the mark does not stand for a worker
	text   string
}

// legend returns what each mark in the drawing means. It names every worker, even one that has no
// core.
func (v *view) legend() []entry {
	var entries []entry
	for i, w := range v.workers {
		entries = append(entries, entry{v.marks[i], i, strings.Join(v.workerFacts(w), separator)})
	}
	for _, s := range v.shares() {
		entries = append(entries, entry{markShared, -1, s.ranks + " share " + cpuList(s.cpus)})
	}
	entries = v.explain(entries, markUnused, "allowed, unused", func(c cell) bool {
		return !c.allowed.IsEmpty() && len(c.owners) == 0
	})
	entries = v.explain(entries, markNotAllowed, "not allowed", func(c cell) bool {
		return c.allowed.IsEmpty()
	})
	entries = v.explain(entries, markPart, "only some threads of these cores are allowed",
		cell.split)
	// The mark of this entry is empty, because every cell of such a core has another mark.
	return v.explain(entries, "", "nodes or packages cut through these cores, and each part has "+
		"a cell", func(c cell) bool { return c.part })
}

// explain adds an entry for the cores for which fits returns true, if there are any.
func (v *view) explain(entries []entry, mark, meaning string, fits func(cell) bool) []entry {
	var cpus affinity.CPUSet
	for _, c := range v.cells {
		if fits(c) {
			cpus = cpus.Union(c.cpus)
		}
	}
	if cpus.IsEmpty() {
		return entries
	}
	return append(entries, entry{mark, -1, meaning + ": " + cpuList(cpus)})
}

func (w Worker) label() string {
	if w.Label == "" {
		return fmt.Sprintf("rank %d", w.Rank)
	}
	return w.Label
}

func (v *view) workerFacts(w Worker) []string {
	facts := []string{w.label()}
	if w.CPUs.IsEmpty() {
		facts = append(facts, "no CPUs")
	} else {
		cores := plural.Of(v.coresOf(w.CPUs), "%d core: ", "%d cores: ")
		facts = append(facts, cores+cpuList(w.CPUs))
	}
	if without := w.CPUs.Subtract(v.topology.Allowed); !without.IsEmpty() {
		facts = append(facts, fmt.Sprintf("of these not allowed: %s", without))
	}
	if len(w.Memory) > 0 {
		facts = append(facts, "memory of "+idList("node", w.Memory))
	}
	return facts
}

// coresOf returns the number of cores that have an allowed CPU in set.
func (v *view) coresOf(set affinity.CPUSet) int {
	n, last := 0, -1
	for _, c := range v.cells { // the parts of a core follow each other
		if c.core != last && !c.allowed.Intersect(set).IsEmpty() {
			n, last = n+1, c.core
		}
	}
	return n
}

// share is a set of workers and the cores that exactly these workers share.
type share struct {
	owners []int
	ranks  string
	cpus   affinity.CPUSet
}

// shares returns the sets of workers that share cores, in the order of the first core of each.
func (v *view) shares() []share {
	var shares []share
	for _, c := range v.cells {
		if len(c.owners) < 2 {
			continue
		}
		same := func(s share) bool { return slices.Equal(s.owners, c.owners) }
		i := slices.IndexFunc(shares, same)
		if i < 0 {
			i = len(shares)
			shares = append(shares, share{owners: c.owners, ranks: v.ranksOf(c.owners)})
		}
		shares[i].cpus = shares[i].cpus.Union(c.allowed)
	}
	return shares
}

func (v *view) ranksOf(owners []int) string {
	var ranks []int
	for _, o := range owners {
		ranks = append(ranks, v.workers[o].Rank)
	}
	return rankList(ranks)
}
