package cgroup

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
)

// FuzzParseOOMKills checks that the count of a control group's OOM kills is the number behind its
// name, and that nothing else counts.
func FuzzParseOOMKills(f *testing.F) {
	for _, events := range []string{"", "oom_kill", "low 0\nhigh 0\nmax 3\noom 2\noom_kill 2\n",
		"oom_kill x\n", "oom_kill -1\n", "oom_kill 99999999999999999999\n", "oom_group_kill 5\n",
		"oom_kill +4", "oom_kill 7"} {
		f.Add(events)
	}
	f.Fuzz(func(t *testing.T, events string) {
		n := parseOOMKills(events)
		if n < 0 {
			t.Errorf("%q counts %d", events, n)
		}
		digits := strings.TrimLeft(strconv.Itoa(n), "0")
		if n > 0 && (!strings.Contains(events, "oom_kill ") || !strings.Contains(events, digits)) {
			t.Errorf("%q counts %d, which is not in it", events, n)
		}
		for _, count := range []int{0, n} {
			line := fmt.Sprintf("oom 1\noom_kill %d\n", count)
			if got := parseOOMKills(line + events); got != count {
				t.Errorf("%q counts %d, want %d", line+events, got, count)
			}
		}
	})
}
