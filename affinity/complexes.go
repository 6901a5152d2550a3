package affinity

import (
	"cmp"
	"fmt"
	"slices"
)

// assignComplexes gives each worker the CPUs of its set that share one L3. Workers with the same
// set take the L3s in turn, in torchrun's order: first those with the most CPUs of the set, then by
// their lowest CPU. Where sets overlap, workers are spread over the L3s as evenly as possible. If
// no L3 is known for a set, its workers get all of it, with a warning that names the devices.
func (t *Topology) assignComplexes(
	sets []CPUSet, locs []Locality,
) (shares []CPUSet, warnings []string) {
	l3s := t.sortedL3s()
	groups := groupBySet(sets)
	candidates := make([][]int, len(groups))
	var all namedWarnings
	for g, group := range groups {
		candidates[g] = complexes(l3s, group.set)
		if len(candidates[g]) > 0 {
			continue
		}
		for _, worker := range group.workers {
			all.add(nameOf(locs[worker], worker), fmt.Sprintf("no L3 cache is known for CPUs %s; "+
				"using all of them", group.set))
		}
	}
	shares = slices.Clone(sets)
	for worker, l3 := range assignEvenly(groups, candidates, len(l3s)) {
		if l3 >= 0 {
			shares[worker] = sets[worker].Intersect(l3s[l3].CPUs)
		}
	}
	return shares, all.lines()
}

// complexes returns the indexes of the L3s that have CPUs of set, first the one with the most.
func complexes(l3s []Cache, set CPUSet) []int {
	var found []int
	size := make([]int, len(l3s))
	for i, l3 := range l3s {
		if size[i] = l3.CPUs.Intersect(set).Len(); size[i] > 0 {
			found = append(found, i)
		}
	}
	slices.SortStableFunc(found, func(a, b int) int { return cmp.Compare(size[b], size[a]) })
	return found
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
