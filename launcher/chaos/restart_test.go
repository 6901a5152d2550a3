//go:build linux

package chaos

import "testing"

// TestNothingOutlivesAnAttempt: what the next attempt finds is not there any more,
// and the next attempt itself is not hit by what ended the one before.
func TestNothingOutlivesAnAttempt(t *testing.T) {
	again := column{"", []fault{
		{Kind: endWorker, When: whenReady, Rank: 1}, {Kind: sendTERM, When: whenAgain},
	}, shortGrace, 143}
	var list []scenario
	for _, flag := range []string{"--cgroup=off", "--cgroup=auto"} {
		for _, r := range rows {
			list = append(list, cell(r, again, flag, "--max-restarts=1"))
		}
	}
	performAll(t, list, func(i int, o outcome) {
		if problems := o.problems(list[i]); len(problems) > 0 {
			t.Errorf("%s: %q\noutcome: %s", encode(list[i]), problems, encode(o))
		}
	})
}
