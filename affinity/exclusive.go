package affinity

import (
	"cmp"
	"slices"
)

// exclusive gives every worker whole cores of its own set. As long as there are enough cores, no
// two workers get the same one.
//
// Workers with the same set are a group, whose cores are divided among them in order. Sets of
// different groups may overlap: a device whose place is unknown may use all CPUs, and the others
// only those of their node. First every core is assigned to the smallest set that has it, and then
// cores move to groups whose workers would get fewer. See [coreOwners].
func exclusive(tree cpuTree, sets []CPUSet) []CPUSet { return ownCores(tree, sets, divideCores) }

// single gives every worker one of the cores that it would have to itself in mode exclusive. If a
// group has more workers than cores, they take the cores in turn.
func single(tree cpuTree, sets []CPUSet) []CPUSet {
	return ownCores(tree, sets, func(cores []*domain, k int) []CPUSet {
		return pickEvenly(cpuSets(cores), k)
	})
}

// ownCores divides the cores among the groups. The function divide divides those of a group among
// its workers.
func ownCores(
	tree cpuTree, sets []CPUSet, divide func(cores []*domain, workers int) []CPUSet,
) []CPUSet {
	groups := groupBySet(sets)
	owners := newCoreOwners(groups, tree.restrict(tree.allowed).cores())
	owners.balance()
	shares := make([]CPUSet, len(sets))
	for g, group := range groups {
		cpus := owners.cpus(g)
		if cpus.IsEmpty() {
			// There are more workers than cores, and other groups own all of them: share the whole
			// set.
			cpus = group.set
		}
		for i, share := range divide(tree.restrict(cpus).cores(), len(group.workers)) {
			shares[group.workers[i]] = share
		}
	}
	return shares
}

// group is workers that have the same set.
type group struct {
	set     CPUSet
	workers []int
}

// groupBySet returns the groups, ordered by their first worker.
func groupBySet(sets []CPUSet) []group {
	var groups []group
	indexes := map[string]int{}
	for worker, set := range sets {
		key := set.String()
		g, ok := indexes[key]
		if !ok {
			g = len(groups)
			indexes[key] = g
			groups = append(groups, group{set: set})
		}
		groups[g].workers = append(groups[g].workers, worker)
	}
	return groups
}

// coreOwners records which group owns which core. A group can own a core if its set has a CPU of
// it, and a core has one owner at most.
type coreOwners struct {
	groups []group
	cores  []*domain
	owner  []int // the owner's index, by core; -1 if no group can own the core
	count  []int // how many cores each group owns
}

// newCoreOwners gives each core to the smallest set that has a CPU of it. If several are equally
// small, it gives the core to the first.
func newCoreOwners(groups []group, cores []*domain) *coreOwners {
	o := &coreOwners{
		groups: groups, cores: cores,
		owner: make([]int, len(cores)), count: make([]int, len(groups)),
	}
	bySize := make([]int, len(groups))
	for g := range groups {
		bySize[g] = g
	}
	slices.SortStableFunc(bySize, func(a, b int) int {
		return cmp.Compare(groups[a].set.Len(), groups[b].set.Len())
	})
	for c, core := range cores {
		o.owner[c] = -1
		i := slices.IndexFunc(bySize, func(g int) bool {
			return groups[g].set.intersects(core.cpus)
		})
		if i >= 0 {
			o.owner[c] = bySize[i]
			o.count[bySize[i]]++
		}
	}
	return o
}

// cpus returns the CPUs that a group may use of the cores that it owns.
func (o *coreOwners) cpus(g int) CPUSet {
	var cpus CPUSet
	for c, core := range o.cores {
		if o.owner[c] == g {
			cpus = cpus.Union(core.cpus)
		}
	}
	return cpus.Intersect(o.groups[g].set)
}

// balance moves cores between groups whose sets overlap, until no move helps: a group gets another
// core, directly or by way of other groups, as long as the group that gives one still has at least
// as many cores per worker.
//
// Every worker ends up with a core of its own wherever that is possible, because groups with spare
// cores give them up as long as some worker has none. The loop ends because every move makes the
// sum of cores²/workers over all groups smaller.
func (o *coreOwners) balance() {
	for moved := true; moved; {
		moved = false
		for g := range o.groups {
			visited := make([]bool, len(o.groups))
			visited[g] = true
			for o.takeCore(g, g, visited) {
				o.count[g]++
				moved = true
				clear(visited)
				visited[g] = true
			}
		}
	}
}

// takeCore moves a core to group g, so that the group poor, on whose behalf it does so, has one
// more in the end. It takes the core from a group that can give one up, or from one that can itself
// take another core in its place. It looks through the cores from the end.
func (o *coreOwners) takeCore(g, poor int, visited []bool) bool {
	for c := len(o.cores) - 1; c >= 0; c-- {
		from := o.owner[c]
		if from < 0 || visited[from] || !o.groups[g].set.intersects(o.cores[c].cpus) {
			continue
		}
		visited[from] = true
		if o.canGive(from, poor) {
			o.count[from]--
		} else if !o.takeCore(from, poor, visited) {
			continue
		}
		o.owner[c] = g
		return true
	}
	return false
}

// canGive reports whether the group from, with one core less, would still have at least as many
// cores per worker as the group poor with one more.
func (o *coreOwners) canGive(from, poor int) bool {
	given, taken := o.count[from]-1, o.count[poor]+1
	return given*len(o.groups[poor].workers) >= taken*len(o.groups[from].workers)
}
