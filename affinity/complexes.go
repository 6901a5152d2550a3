package affinity

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// assignComplexes gives each worker the CPUs of its set that share one L3. Workers with the same
// set take the L3s in turn, in torchrun's order: first those with the most CPUs of the set, then by
// their lowest CPU. If no L3 is known for a set, its workers get all of it, with a warning that
// names the devices.
func (t *Topology) assignComplexes(
	sets []CPUSet, locs []Locality,
) (shares []CPUSet, warnings []string) {
	shares = slices.Clone(sets)
	for _, g := range groupBySet(sets) {
		complexes := t.complexes(g.set)
		if len(complexes) == 0 {
			var names []string
			for _, worker := range g.workers {
				names = append(names, nameOf(locs[worker], worker))
			}
			warnings = append(warnings, fmt.Sprintf("%s: no L3 cache is known for CPUs %s; "+
				"using all of them", strings.Join(names, ", "), g.set))
			continue
		}
		for i, worker := range g.workers {
			shares[worker] = complexes[i%len(complexes)]
		}
	}
	return shares, warnings
}

// complexes returns the CPUs of set that share an L3, for each L3, the largest first.
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

// complexesInOrder returns the allowed CPUs of each L3, in the order of the machine's tree.
func (t *Topology) complexesInOrder() []CPUSet {
	var ordered []CPUSet
	remaining := t.sortedL3s()
	for _, core := range t.Cores {
		hasCore := func(l3 Cache) bool { return l3.CPUs.intersects(core.CPUs) }
		for _, l3 := range remaining {
			if set := l3.CPUs.Intersect(t.Allowed); hasCore(l3) && !set.IsEmpty() {
				ordered = append(ordered, set)
			}
		}
		remaining = slices.DeleteFunc(remaining, hasCore)
	}
	return ordered
}

func (t *Topology) sortedL3s() []Cache {
	return slices.SortedFunc(slices.Values(t.L3s), func(a, b Cache) int {
		return cmp.Compare(a.CPUs.Min(), b.CPUs.Min())
	})
}
