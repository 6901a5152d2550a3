//go:build linux

package chaos

import "testing"

// TestNothingOutlivesAnAttempt wants all processes of an attempt to have ended when the next
// attempt begins, and the next attempt not to be hit by what ended the first one.
func TestNothingOutlivesAnAttempt(t *testing.T) {
	again := column{"", []fault{
		{Kind: endWorker, When: whenReady, Rank: 1}, {Kind: sendTERM, When: whenAgain},
	}, shortGrace, 143}
	var list []scenario
	for _, flag := range []string{"--cgroup=off", "--cgroup=auto"} {
		for _, r := range rows {
			list = append(list, cell(r, again, flag, "--max-restarts=1", "--restart-delay=0"))
		}
	}
	performAll(t, list, func(i int, o outcome) {
		if problems := o.problems(list[i]); len(problems) > 0 {
			t.Errorf("%q\nscenario: %s\noutcome: %s", problems, encode(list[i]), encode(o))
		}
	})
}
