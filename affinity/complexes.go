package affinity

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// takeComplexes gives each worker the part of its set that one L3 covers. Workers with the same set take the L3s in
// turn, the ones with the most of the set's CPUs first, then by their lowest CPU, which is torchrun's order. A set
// without a known L3 stays whole, with a warning that names the devices.
func (t *Topology) takeComplexes(sets []CPUSet, locs []Locality) (shares []CPUSet, warnings []string) {
	shares = slices.Clone(sets)
	for _, g := range groupBySet(sets) {
		complexes := t.complexes(g.set)
		if len(complexes) == 0 {
			var names []string
			for _, worker := range g.workers {
				names = append(names, nameOf(locs[worker], worker))
			}
			warnings = append(warnings, fmt.Sprintf("%s: no L3 cache is known among the CPUs %s; using all of these", strings.Join(names, ", "), g.set))
			continue
		}
		for i, worker := range g.workers {
			shares[worker] = complexes[i%len(complexes)]
		}
	}
	return shares, warnings
}

// complexes returns the parts of set below each L3, the largest first.
func (t *Topology) complexes(set CPUSet) []CPUSet {
	var parts []CPUSet
	for _, l3 := range t.sortedL3s() {
		if part := l3.CPUs.Intersect(set); !part.IsEmpty() {
			parts = append(parts, part)
		}
	}
	slices.SortStableFunc(parts, func(a, b CPUSet) int { return cmp.Compare(b.Len(), a.Len()) })
	return parts
}

// complexesInOrder returns the allowed CPUs of every L3, in the order of the machine's tree.
func (t *Topology) complexesInOrder() []CPUSet {
	var ordered []CPUSet
	left := t.sortedL3s()
	for _, core := range t.Cores {
		under := func(l3 Cache) bool { return l3.CPUs.intersects(core.CPUs) }
		for _, l3 := range left {
			if set := l3.CPUs.Intersect(t.Allowed); under(l3) && !set.IsEmpty() {
				ordered = append(ordered, set)
			}
		}
		left = slices.DeleteFunc(left, under)
	}
	return ordered
}

func (t *Topology) sortedL3s() []Cache {
	return slices.SortedFunc(slices.Values(t.L3s), func(a, b Cache) int { return cmp.Compare(a.CPUs.Min(), b.CPUs.Min()) })
}
