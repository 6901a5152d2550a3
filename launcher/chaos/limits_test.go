//go:build linux

package chaos

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// TestBothKilled ends keeper and supervisor so that neither can act any more. The
// workers die by their death signal. What they had started is counted: this is
// where the guarantee ends.
func TestBothKilled(t *testing.T) {
	var list []scenario
	var names []string
	for _, c := range []column{
		{"at the same instant", []fault{{Kind: killBoth, When: whenReady}}, shortGrace, 137},
	} {
		for _, flag := range []string{"--cgroup=off", "--cgroup=auto"} {
			for _, r := range rows {
				s := cell(r, c, flag)
				s.Within = time.Second // for the workers; the rest will not end
				list = append(list, s)
				names = append(names, c.name+", "+flag+", "+r.name)
			}
		}
	}
	left := make([]int, len(list))
	performAll(t, list, func(i int, o outcome) {
		left[i] = len(o.Left)
		if o.Cgroup != "" && len(o.Left) > 0 && !strings.Contains(fmt.Sprint(o.Remains), o.Cgroup) {
			t.Errorf("nobody could remove the cgroup, yet it is not seen: %s", encode(o))
		}
		if o.Err != "" || o.Workers > 0 || o.Exit != 137 || len(o.Touched) > 0 {
			t.Errorf("%s: %s", names[i], encode(o))
		}
	})
	for i, name := range names {
		t.Logf("%s: %d of 2 descendants left", name, left[i])
	}
}

// TestTheEarlierFailureIsTheCause has two workers fail 50 ms apart, either one
// first, a hundred times.
func TestTheEarlierFailureIsTheCause(t *testing.T) {
	var list []scenario
	for i := range 100 {
		first, second := i%3, (i+1+i/3%2)%3
		// The two ignore TERM, or the first one's failure would be the other's end.
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
	t.Logf("the earlier of two failures 50 ms apart is the root cause in %d of %d runs", right, len(list))
}
