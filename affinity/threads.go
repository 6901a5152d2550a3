package affinity

import "math"

// coreUse counts the workers on each physical core.
type coreUse struct {
	coreOf  map[int]int // by CPU
	workers []int       // by core
}

func newCoreUse(cores []*domain, sets []CPUSet) coreUse {
	use := coreUse{coreOf: map[int]int{}}
	for i, core := range cores {
		for cpu := range core.cpus.All() {
			use.coreOf[cpu] = i
		}
		use.workers = append(use.workers, 0)
	}
	for _, g := range groupBySet(sets) {
		for _, core := range use.cores(g.set) {
			use.workers[core] += len(g.workers)
		}
	}
	return use
}

// cores returns the cores that have a CPU in set.
func (u coreUse) cores(set CPUSet) []int {
	var cores []int
	seen := make([]bool, len(u.workers))
	for cpu := range set.All() {
		if core, ok := u.coreOf[cpu]; ok && !seen[core] {
			seen[core] = true
			cores = append(cores, core)
		}
	}
	return cores
}

// threads returns how many threads a worker bound to set can run without taking CPU time from
// others. A core that n workers share counts as 1/n. The sum is rounded down, but is at least 1.
func (u coreUse) threads(set CPUSet) int {
	share := 0.0
	for _, core := range u.cores(set) {
		share += 1 / float64(u.workers[core])
	}
	// Rounding must not make three thirds less than 1.
	return max(1, int(math.Floor(share+1e-6)))
}

// shared returns how many cores are used by a worker, and how many of these by more than one.
func (u coreUse) shared() (used, shared int) {
	for _, workers := range u.workers {
		if workers > 0 {
			used++
		}
		if workers > 1 {
			shared++
		}
	}
	return used, shared
}
