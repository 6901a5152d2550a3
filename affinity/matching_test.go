package affinity

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
)

// groupByCandidates returns the groups of workers that each have a list of candidates.
func groupByCandidates(lists [][]int) (groups []group, candidates [][]int) {
	for worker, list := range lists {
		same := func(other []int) bool { return slices.Equal(list, other) }
		i := slices.IndexFunc(candidates, same)
		if i < 0 {
			i = len(groups)
			groups, candidates = append(groups, group{}), append(candidates, list)
		}
		groups[i].workers = append(groups[i].workers, worker)
	}
	return groups, candidates
}

func TestAssignEvenly(t *testing.T) {
	for _, test := range []struct {
		name  string
		lists [][]int
		want  string
	}{
		{"nobody", nil, "[]"},
		{"no candidates", [][]int{{}, {0}, {}}, "[-1 0 -1]"},
		{"in turn", [][]int{{2, 0}, {2, 0}, {2, 0}}, "[2 0 2]"},
		{"apart", [][]int{{0, 1}, {2, 3}, {0, 1}, {2, 3}}, "[0 2 1 3]"},
		{"the first one has a choice", [][]int{{0, 1}, {0}}, "[1 0]"},
		{"the last one has a choice", [][]int{{0}, {0, 1}}, "[0 1]"},
		{"by way of a third", [][]int{{0, 1}, {1, 2}, {0}, {0, 1}}, "[0 2 0 1]"},
		{"a chain", [][]int{{0, 1}, {1, 2}, {2, 3}, {0}, {1}, {2}}, "[1 2 3 0 1 2]"},
	} {
		groups, candidates := groupByCandidates(test.lists)
		if got := fmt.Sprint(assignEvenly(groups, candidates, 4)); got != test.want {
			t.Errorf("%s: %s, want %s", test.name, got, test.want)
		}
	}
}

// TestAssignEvenlyIsMostEven compares with every possible assignment of a few workers.
func TestAssignEvenlyIsMostEven(t *testing.T) {
	const count = 4
	for seed := range uint64(400) {
		r := rand.New(rand.NewPCG(seed, 3))
		var lists [][]int
		for range 1 + r.IntN(6) {
			lists = append(lists, r.Perm(count)[:1+r.IntN(count)])
		}
		groups, candidates := groupByCandidates(lists)
		got := assignEvenly(groups, candidates, count)
		for worker, candidate := range got {
			if !slices.Contains(lists[worker], candidate) {
				t.Fatalf("seed %d: worker %d of %v got %d", seed, worker, lists, candidate)
			}
		}
		if cost, least := unevenness(got), leastUnevenness(lists, nil); cost != least {
			t.Errorf("seed %d: %v got %v, which costs %d instead of %d", seed, lists, got, cost,
				least)
		}
	}
}

// unevenness is the sum of the squares of the numbers of workers: the least for the assignment
// that is most even.
func unevenness(assigned []int) int {
	load, cost := map[int]int{}, 0
	for _, candidate := range assigned {
		cost += 2*load[candidate] + 1
		load[candidate]++
	}
	return cost
}

func leastUnevenness(lists [][]int, assigned []int) int {
	if len(assigned) == len(lists) {
		return unevenness(assigned)
	}
	least := -1
	for _, candidate := range lists[len(assigned)] {
		cost := leastUnevenness(lists, append(slices.Clone(assigned), candidate))
		if least < 0 || cost < least {
			least = cost
		}
	}
	return least
}
