package affinity

// distribute divides domains among k workers, in order. It gives each domain a number of workers in
// proportion to its hardware threads. The workers of a domain divide its children among them in the
// same way or, if it is a core, share it. A domain that gets no worker goes to the worker before.
//
// This is the rule of hwloc_distrib (hwloc/helper.h). Given the list of cores it returns what hwloc
// does for a flat list, and given only the root of a tree, what hwloc does for a whole machine.
//
// Where some cores have many more threads than others, workers may share a core although there are
// enough. It returns k sets, none of them empty, or nothing if there are no CPUs or no workers.
func distribute(domains []*domain, k int) []CPUSet {
	total := 0
	for _, d := range domains {
		total += d.cpus.Len()
	}
	if total == 0 || k <= 0 {
		return nil
	}
	sets := make([]CPUSet, 0, k)
	before := 0
	for _, d := range domains {
		weight := d.cpus.Len()
		share := ceilDiv((before+weight)*k, total) - ceilDiv(before*k, total)
		before += weight
		switch {
		case weight == 0:
		case share == 0:
			sets[len(sets)-1] = sets[len(sets)-1].Union(d.cpus)
		case share > 1 && len(d.children) > 0:
			sets = append(sets, distribute(d.children, share)...)
		default:
			for range share {
				sets = append(sets, d.cpus)
			}
		}
	}
	return sets
}

// divideCores divides cores among k workers by the rule of distribute. If that makes workers share
// a core although there are enough, it divides the cores by their number instead.
func divideCores(cores []*domain, k int) []CPUSet {
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

// pickEvenly picks one of the sets for each of k workers. They are evenly spaced or, if there are
// more workers than sets, each set in turn.
func pickEvenly(sets []CPUSet, k int) []CPUSet {
	n := len(sets)
	picked := make([]CPUSet, k)
	for i := range picked {
		if k <= n {
			picked[i] = sets[i*n/k]
		} else {
			picked[i] = sets[i%n]
		}
	}
	return picked
}

func cpuSets(cores []*domain) []CPUSet {
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
