package affinity

import "slices"

// assignEvenly assigns one candidate to each worker, so that the workers are spread over the
// candidates as evenly as possible. groups are the workers that have the same candidates, and
// candidates holds, for each group, numbers from 0 to count-1 in the order of preference. A worker
// of a group without candidates gets -1.
//
// It is a semi-matching (Harvey, Ladner, Lovász, Tamir: Semi-matchings for bipartite graphs and
// load balancing, 2006): a worker takes the candidate with the fewest workers of all that it can
// have, directly or because other workers move to another of their candidates. No other assignment
// is more even. The workers of a group take their candidates in turn, as far as these are equally
// free. The same arguments always give the same result.
func assignEvenly(groups []group, candidates [][]int, count int) []int {
	a := newAssignment(candidates, count)
	workers := 0
	for _, g := range groups {
		workers += len(g.workers)
	}
	groupOf := make([]int, workers)
	for i, g := range groups {
		for _, worker := range g.workers {
			groupOf[worker] = i
		}
	}
	for _, g := range groupOf {
		a.add(g)
	}
	assigned := make([]int, workers)
	for i, g := range groups {
		for j, candidate := range a.inTurn(i, len(g.workers)) {
			assigned[g.workers[j]] = candidate
		}
	}
	return assigned
}

// assignment counts the workers on each candidate.
type assignment struct {
	candidates [][]int // by group
	used       [][]int // by group and candidate: how many workers of the group have it
	load       []int   // by candidate: how many workers have it
}

func newAssignment(candidates [][]int, count int) *assignment {
	a := &assignment{candidates: candidates, load: make([]int, count)}
	for range candidates {
		a.used = append(a.used, make([]int, count))
	}
	return a
}

// add assigns a candidate to one more worker of a group. It looks for the candidate with the
// fewest workers in the order of the steps that lead to it, and lets each worker on the way there
// move on by one step.
func (a *assignment) add(g int) {
	reached := make([]int, len(a.load)) // the group that would move to the candidate, or -1
	from := make([]int, len(a.load))    // the candidate that it would leave, or -1
	for c := range reached {
		reached[c] = -1
	}
	var queue []int
	reach := func(g, left int) {
		for _, c := range a.candidates[g] {
			if reached[c] < 0 {
				reached[c], from[c] = g, left
				queue = append(queue, c)
			}
		}
	}
	reach(g, -1)
	best := -1
	for next := 0; next < len(queue); next++ {
		c := queue[next]
		if best < 0 || a.load[c] < a.load[best] {
			best = c
		}
		for other := range a.candidates {
			if a.used[other][c] > 0 {
				reach(other, c)
			}
		}
	}
	if best < 0 {
		return
	}
	a.load[best]++
	for c := best; c >= 0; c = from[c] {
		a.used[reached[c]][c]++
		if from[c] >= 0 {
			a.used[reached[c]][from[c]]--
		}
	}
}

// inTurn returns the candidates of a group's workers, in the order of the workers.
func (a *assignment) inTurn(g, workers int) []int {
	left := slices.Clone(a.used[g])
	var turn []int
	for len(turn) < workers {
		before := len(turn)
		for _, c := range a.candidates[g] {
			if left[c] > 0 {
				left[c]--
				turn = append(turn, c)
			}
		}
		if len(turn) == before {
			turn = append(turn, -1)
		}
	}
	return turn
}
