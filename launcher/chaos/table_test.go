//go:build linux

package chaos

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// row is a kind of descendant, and column is something that happens to the job.
type (
	row struct{ name, traits string }

	column struct {
		name   string
		faults []fault
		grace  time.Duration
		status int // the exit status of the launcher
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
	// longGrace is a grace period that must not be waited for.
	longGrace = 10 * time.Minute
	// signalGap separates two signals so that the launcher does not take them for one.
	signalGap = 400 * time.Millisecond
)

var columns = []column{
	{"TERM", []fault{{Kind: sendTERM, When: whenReady}}, shortGrace, 143},
	{"INT twice", []fault{
		{Kind: sendINT, When: whenReady},
		{Kind: sendINT, When: whenSaid, Delay: signalGap},
	}, longGrace, 130},
	{"KILL keeper", []fault{{Kind: killKeeper, When: whenReady}}, longGrace, 137},
	{"KILL supervisor", []fault{{Kind: killSupervisor, When: whenReady}}, longGrace, 125},
	// The survivor is killed as soon as it has ended the job's processes. If it is killed before,
	// it cannot end them, see TestBothKilled: how long it needs depends on the load of the machine.
	{"keeper, supervisor", []fault{
		{Kind: killKeeper, When: whenReady}, {Kind: killSupervisor, When: whenGone},
	}, longGrace, 137},
	{"supervisor, keeper", []fault{
		{Kind: killSupervisor, When: whenReady}, {Kind: killKeeper, When: whenGone},
	}, longGrace, 125},
	{"a worker crashes", []fault{{Kind: endWorker, When: whenReady, Rank: 1}}, shortGrace, 139},
}

// cell returns the scenario for a job of two workers, each of which has one descendant.
func cell(r row, c column, flags ...string) scenario {
	worker := node{Kids: []node{{Traits: r.traits}}}
	s := scenario{
		Trees: []node{worker, worker}, End: "SEGV", Faults: c.faults, Grace: c.grace, Flags: flags,
		Status: c.status,
	}
	if c.grace == longGrace {
		s.Within = margin
	}
	return s
}

// TestTable draws a table with the number of processes that are left, for each kind of descendant
// and each thing that happens to a job. It wants a zero in every cell.
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
					t.Errorf("%s, %s: %q\noutcome: %s", rows[i/len(columns)].name,
						columns[i%len(columns)].name, problems, encode(o))
				}
			})
			t.Logf("processes that are left (%d of %d jobs were in a cgroup):\n%s",
				groups, len(cells), table(left))
			want := 0
			if flag == "--cgroup=auto" && groups > 0 { // where groups can be made at all
				want = len(cells)
			}
			if groups != want {
				t.Errorf("%d jobs were in a cgroup, want %d", groups, want)
			}
		})
	}
}

// table formats the numbers of processes that are left.
func table(left []int) string {
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
