package draw

import (
	"fmt"
	"slices"
	"strings"

	"github.com/gpulaunch/gpulaunch/affinity"
)

// entry is a line of the legend.
type entry struct {
	mark   string
	worker int // its place in view.workers, -1 when the mark is no worker's
	text   string
}

// legend says what each mark that is in the drawing means, and names every worker whether or not it has a core.
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
	entries = v.explain(entries, markNotAllowed, "not allowed", func(c cell) bool { return c.allowed.IsEmpty() })
	return v.explain(entries, markPart, "only some threads of these cores are allowed", cell.split)
}

// explain adds an entry for the cores that fit, if there are any.
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
		facts = append(facts, plural(v.coresOf(w.CPUs), "core")+": "+cpuList(w.CPUs))
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
	n := 0
	for _, c := range v.cells {
		if !c.allowed.Intersect(set).IsEmpty() {
			n++
		}
	}
	return n
}

// share is a set of workers with the cores that exactly they share.
type share struct {
	owners []int
	ranks  string
	cpus   affinity.CPUSet
}

// shares returns the sets of workers that share cores, by their first core.
func (v *view) shares() []share {
	var shares []share
	for _, c := range v.cells {
		if len(c.owners) < 2 {
			continue
		}
		i := slices.IndexFunc(shares, func(s share) bool { return slices.Equal(s.owners, c.owners) })
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
