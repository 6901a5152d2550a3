//go:build linux

package chaos

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// row is a kind of descendant, column a thing that happens to the job.
type (
	row struct{ name, traits string }

	column struct {
		name   string
		faults []fault
		grace  time.Duration
		status int // of the launcher
	}
)

var rows = []row{
	{"plain", ""},
	{"TERM-ignoring", "i"},
	{"setsid", "s"},
	{"double-forked", "d"},
	{"environment cleared", "c"},
	{"title rewritten", "t"},
	{"all of these", "isdct"},
}

const (
	shortGrace = 300 * time.Millisecond
	// longGrace is one that nothing may wait for.
	longGrace = 10 * time.Minute
	gap       = 500 * time.Millisecond
	// apart are two signals that the launcher takes for two wishes.
	apart = 400 * time.Millisecond
)

var columns = []column{
	{"TERM", []fault{{Kind: sendTERM, When: whenReady}}, shortGrace, 143},
	{"INT twice", []fault{{Kind: sendINT, When: whenReady}, {Kind: sendINT, When: whenSaid, Delay: apart}}, longGrace, 130},
	{"KILL keeper", []fault{{Kind: killKeeper, When: whenReady}}, longGrace, 137},
	{"KILL supervisor", []fault{{Kind: killSupervisor, When: whenReady}}, longGrace, 125},
	{"keeper, supervisor", []fault{{Kind: killKeeper, When: whenReady}, {Kind: killSupervisor, When: next, Delay: gap}}, longGrace, 137},
	{"supervisor, keeper", []fault{{Kind: killSupervisor, When: whenReady}, {Kind: killKeeper, When: next, Delay: gap}}, longGrace, 125},
	{"a worker crashes", []fault{{Kind: endWorker, When: whenReady, Rank: 1}}, shortGrace, 139},
}

// cell is a job of two workers, each with one descendant of a kind.
func cell(r row, c column, flags ...string) scenario {
	worker := node{Kids: []node{{Traits: r.traits}}}
	s := scenario{Trees: []node{worker, worker}, End: "SEGV", Faults: c.faults, Grace: c.grace, Flags: flags, Status: c.status}
	if c.grace == longGrace {
		s.Within = margin
	}
	return s
}

// TestTable wants a zero in every cell: processes that are left after each of the
// things that happen to a job, for each kind of descendant.
func TestTable(t *testing.T) {
	for _, flag := range []string{"--cgroup=off", "--cgroup=auto"} {
		t.Run(flag[2:], func(t *testing.T) {
			var cells []scenario
			for _, r := range rows {
				for _, c := range columns {
					cells = append(cells, cell(r, c, flag))
				}
			}
			left := make([]int, len(cells))
			groups := 0
			performAll(t, cells, func(i int, o outcome) {
				left[i] = len(o.Left)
				if o.Cgroup != "" {
					groups++
				}
				if problems := o.problems(cells[i]); len(problems) > 0 {
					t.Errorf("%s, %s: %q\noutcome: %s", rows[i/len(columns)].name, columns[i%len(columns)].name, problems, encode(o))
				}
			})
			t.Logf("processes left, %d of %d jobs in a cgroup:\n%s", groups, len(cells), drawn(left))
			if want := map[string]int{"--cgroup=auto": len(cells)}[flag]; groups != want && (groups > 0 || want == 0) {
				t.Errorf("%d jobs in a cgroup, want %d", groups, want)
			}
		})
	}
}

// drawn draws the table.
func drawn(left []int) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%20s", "")
	for _, c := range columns {
		fmt.Fprintf(&b, " | %s", c.name)
	}
	for i, r := range rows {
		fmt.Fprintf(&b, "\n%20s", r.name)
		for j, c := range columns {
			fmt.Fprintf(&b, " | %*d", len(c.name), left[i*len(columns)+j])
		}
	}
	return b.String()
}
