package affinity

import (
	"cmp"
	"slices"
)

// exclusive gives every worker whole cores from its own set of sets, disjoint from the others' as long as there are
// enough cores.
//
// Workers with the same set are a group: its cores are dealt out to them in order. Sets that overlap without being the
// same (a device whose place is unknown may use all CPUs, its neighbours only their node) are made disjoint first: each
// core goes to the smallest set that has it, then cores move to where a worker would get fewer. See [owners].
func exclusive(m machine, sets []CPUSet) []CPUSet { return ownCores(m, sets, deal) }

// single gives every worker one core of those that it would have to itself in mode exclusive. The workers of a group
// that has fewer cores take these in turn.
func single(m machine, sets []CPUSet) []CPUSet {
	return ownCores(m, sets, func(cores []*domain, k int) []CPUSet { return steps(leaves(cores), k) })
}

// ownCores divides the cores between the groups and lets deal do so within each.
func ownCores(m machine, sets []CPUSet, deal func(cores []*domain, k int) []CPUSet) []CPUSet {
	groups := groupBySet(sets)
	cores := m.part(m.allowed).cores()
	own := newOwners(groups, cores)
	own.balance()
	shares := make([]CPUSet, len(sets))
	for g, group := range groups {
		cpus := own.cpus(g)
		if cpus.IsEmpty() {
			// More workers than cores, and others have them all: share the whole set with them.
			cpus = group.set
		}
		for i, share := range deal(m.part(cpus).cores(), len(group.workers)) {
			shares[group.workers[i]] = share
		}
	}
	return shares
}

// group is the workers that have the same set.
type group struct {
	set     CPUSet
	workers []int
}

// groupBySet returns the groups in the order of their first workers.
func groupBySet(sets []CPUSet) []group {
	var groups []group
	place := map[string]int{}
	for worker, set := range sets {
		key := set.String()
		g, ok := place[key]
		if !ok {
			g = len(groups)
			place[key] = g
			groups = append(groups, group{set: set})
		}
		groups[g].workers = append(groups[g].workers, worker)
	}
	return groups
}

// owners assigns every core to at most one of the groups whose sets have a CPU of it.
type owners struct {
	groups []group
	cores  []*domain
	owner  []int // by core; -1: in no group's set
	count  []int // cores by group
}

// newOwners gives each core to the smallest set that has it, to the first one among equals.
func newOwners(groups []group, cores []*domain) *owners {
	o := &owners{groups: groups, cores: cores, owner: make([]int, len(cores)), count: make([]int, len(groups))}
	bySize := make([]int, len(groups))
	for g := range groups {
		bySize[g] = g
	}
	slices.SortStableFunc(bySize, func(a, b int) int { return cmp.Compare(groups[a].set.Len(), groups[b].set.Len()) })
	for c, core := range cores {
		o.owner[c] = -1
		i := slices.IndexFunc(bySize, func(g int) bool { return groups[g].set.intersects(core.cpus) })
		if i >= 0 {
			o.owner[c] = bySize[i]
			o.count[bySize[i]]++
		}
	}
	return o
}

// cpus returns what a group may use of the cores that it owns.
func (o *owners) cpus(g int) CPUSet {
	var cpus CPUSet
	for c, core := range o.cores {
		if o.owner[c] == g {
			cpus = cpus.Union(core.cpus)
		}
	}
	return cpus.Intersect(o.groups[g].set)
}

// balance moves cores between groups with overlapping sets until no move, direct or through other groups, can help a
// group with fewer cores per worker without making the giver the poorer one. So every worker ends up with a core of its
// own wherever that is possible: as long as some worker has none, any group with a core to spare gives it. It ends
// because each move makes the sum over groups of cores²/workers smaller.
func (o *owners) balance() {
	for moved := true; moved; {
		moved = false
		for g := range o.groups {
			visited := make([]bool, len(o.groups))
			visited[g] = true
			for o.take(g, g, visited) {
				o.count[g]++
				moved = true
				clear(visited)
				visited[g] = true
			}
		}
	}
}

// take finds a core for group g, on behalf of the group poor: from a group that can spare one, or from one that can
// take another core for it. Cores are taken from the end.
func (o *owners) take(g, poor int, visited []bool) bool {
	for c := len(o.cores) - 1; c >= 0; c-- {
		from := o.owner[c]
		if from < 0 || visited[from] || !o.groups[g].set.intersects(o.cores[c].cpus) {
			continue
		}
		visited[from] = true
		if o.canSpare(from, poor) {
			o.count[from]--
		} else if !o.take(from, poor, visited) {
			continue
		}
		o.owner[c] = g
		return true
	}
	return false
}

// canSpare reports whether group from, with a core less, still has as many cores per worker as poor with one more.
func (o *owners) canSpare(from, poor int) bool {
	return (o.count[from]-1)*len(o.groups[poor].workers) >= (o.count[poor]+1)*len(o.groups[from].workers)
}
