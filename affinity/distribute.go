package affinity

// distribute deals the CPUs of items out to k workers in order, each item getting a number of workers in proportion to
// its hardware threads. An item that gets several is dealt out to them by its children or, if it is a core, shared by
// them; one that gets none goes to the worker before. This is the rule of hwloc_distrib (hwloc/helper.h): a list of
// cores as items is its flat answer, a tree's root as the only item its answer for a whole machine.
//
// It may share a core although there is one for each worker, where some cores have many more threads than others. It
// returns k sets, none of them empty, or nothing when there is no item or no worker.
func distribute(items []*domain, k int) []CPUSet {
	total := 0
	for _, item := range items {
		total += item.cpus.Len()
	}
	if total == 0 || k <= 0 {
		return nil
	}
	sets := make([]CPUSet, 0, k)
	before := 0
	for _, item := range items {
		weight := item.cpus.Len()
		share := ceilDiv((before+weight)*k, total) - ceilDiv(before*k, total)
		before += weight
		switch {
		case weight == 0:
		case share == 0:
			sets[len(sets)-1] = sets[len(sets)-1].Union(item.cpus)
		case share > 1 && len(item.children) > 0:
			sets = append(sets, distribute(item.children, share)...)
		default:
			for range share {
				sets = append(sets, item.cpus)
			}
		}
	}
	return sets
}

// deal deals whole cores out to k workers by distribute's rule, except that it goes by the number of cores where that rule
// would share one although there are enough.
func deal(cores []*domain, k int) []CPUSet {
	sets := distribute(cores, k)
	if k > len(cores) || disjoint(sets) {
		return sets
	}
	for i := range sets {
		sets[i] = CPUSet{}
		for _, core := range cores[i*len(cores)/k : (i+1)*len(cores)/k] {
			sets[i] = sets[i].Union(core.cpus)
		}
	}
	return sets
}

// steps gives each of k workers one of the sets: at equal steps through all of them, or in turn where k is more.
func steps(sets []CPUSet, k int) []CPUSet {
	n := len(sets)
	taken := make([]CPUSet, k)
	for i := range taken {
		if k <= n {
			taken[i] = sets[i*n/k]
		} else {
			taken[i] = sets[i%n]
		}
	}
	return taken
}

func leaves(cores []*domain) []CPUSet {
	sets := make([]CPUSet, len(cores))
	for i, core := range cores {
		sets[i] = core.cpus
	}
	return sets
}

func disjoint(sets []CPUSet) bool {
	var all CPUSet
	for _, set := range sets {
		if set.intersects(all) {
			return false
		}
		all = all.Union(set)
	}
	return true
}

func ceilDiv(a, b int) int { return (a + b - 1) / b }
