//go:build linux

package chaos

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// TestBothKilled kills the keeper and the supervisor at the same time, so that neither can act. The
// workers must die of their parent death signal. Their descendants are only counted, because the
// launcher guarantees nothing about them in this case.
func TestBothKilled(t *testing.T) {
	both := column{"both killed", []fault{{Kind: killBoth, When: whenReady}}, shortGrace, 137}
	var list []scenario
	var names []string
	for _, flag := range []string{"--cgroup=off", "--cgroup=auto"} {
		for _, r := range rows {
			s := cell(r, both, flag)
			s.Within = leftAfter // enough for the workers; the others do not end
			list = append(list, s)
			names = append(names, flag+", "+r.name)
		}
	}
	left := make([]int, len(list))
	performAll(t, list, func(i int, o outcome) {
		left[i] = len(o.Left)
		if o.Cgroup != "" && len(o.Left) > 0 && !strings.Contains(fmt.Sprint(o.Remains), o.Cgroup) {
			t.Errorf("%s: processes are left, but their control group %s is not: %s",
				names[i], o.Cgroup, encode(o))
		}
		if o.Err != "" || o.Workers > 0 || o.Exit != 137 || len(o.Touched) > 0 {
			t.Errorf("%s: %d workers are left and the exit status is %d, want none and 137; "+
				"outcome: %s", names[i], o.Workers, o.Exit, encode(o))
		}
	})
	for i, name := range names {
		t.Logf("%s: %d of 2 descendants are left", name, left[i])
	}
}

// TestTheEarlierFailureIsTheCause has two of three workers fail, the second one 50 ms after the
// first one, in a hundred jobs. The exit status must be the one of the first failure.
func TestTheEarlierFailureIsTheCause(t *testing.T) {
	var list []scenario
	for i := range 100 {
		first, second := i%3, (i+1+i/3%2)%3
		// Both ignore SIGTERM, because the launcher sends it after the first failure.
		workers := make([]node, 3)
		workers[first].Traits, workers[second].Traits = "i", "i"
		list = append(list, scenario{
			Trees: workers, End: "exit rank", Grace: shortGrace, Status: 10 + first,
			Faults: []fault{
				{Kind: endWorker, When: whenReady, Rank: first},
				{Kind: endWorker, When: whenDead, Rank: second, Delay: 50 * time.Millisecond},
			},
		})
	}
	right := 0
	performAll(t, list, func(i int, o outcome) {
		if problems := o.problems(list[i]); len(problems) > 0 {
			t.Errorf("%q\nscenario: %s\noutcome: %s", problems, encode(list[i]), encode(o))
			return
		}
		right++
	})
	t.Logf("the earlier of two failures 50 ms apart is the root cause in %d of %d jobs",
		right, len(list))
}
