package process

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
)

// FuzzParseVMStat checks that the count of OOM kills is the number behind its name, and that
// whatever is not a number counts as none: a count that goes down or is enormous would blame the
// memory for the end of every worker.
func FuzzParseVMStat(f *testing.F) {
	for _, text := range []string{"", "oom_kill", "oom_kill 3\n", "nr_free_pages 5\noom_kill 7\n",
		"oom_kill x\noom_kill 1\n", "oom_kill -1\n", "oom_kill 99999999999999999999\n",
		"  oom_kill 2", "oom_kill_other 9\n", "oom_kill +4", "oom_kill  4"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		n := parseVMStat(text, "oom_kill")
		if n < 0 {
			t.Errorf("%q counts %d", text, n)
		}
		digits := strings.TrimLeft(strconv.Itoa(n), "0")
		if n > 0 && (!strings.Contains(text, "oom_kill ") || !strings.Contains(text, digits)) {
			t.Errorf("%q counts %d, which is not in it", text, n)
		}
		// What follows the line, and other lines before it, change nothing.
		for _, count := range []int{0, n} {
			line := fmt.Sprintf("nr_free_pages 1\noom_kill %d\n", count)
			if got := parseVMStat(line+text, "oom_kill"); got != count {
				t.Errorf("%q counts %d, want %d", line+text, got, count)
			}
		}
	})
}
