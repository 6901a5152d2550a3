//go:build linux

package chaos

import (
	"os"
	"strings"
	"testing"

	"github.com/gpulaunch/gpulaunch/gpu/nvml/nvmltest"
)

// TestNegativeControls switches off one mechanism at a time, and wants that to be noticed: without
// the mechanism, processes must be left over.
func TestNegativeControls(t *testing.T) {
	byName := map[string]column{}
	for _, c := range columns {
		byName[c.name] = c
	}
	bothKilled := column{
		faults: []fault{{Kind: killBoth, When: whenReady}}, grace: shortGrace, status: 137,
	}
	const off, auto = "--cgroup=off", "--cgroup=auto"
	for _, c := range []struct {
		name, without string
		traits        string
		column        column
		flag          string
		left          int // at least so many processes must be left
	}{
		{"the supervisor is not a subreaper", noSubreaper, "ds", byName["TERM"], off, 2},
		{"nor is the keeper", noSubreaper, "ds", byName["KILL supervisor"], off, 2},
		{"a crash without a subreaper", noSubreaper, "di", byName["a worker crashes"], off, 2},
		{"the supervisor does not sweep", noSweep, "is", byName["TERM"], off, 2},
		{"the supervisor does not sweep without a keeper", noSweep, "is", byName["KILL keeper"],
			off, 2},
		{"the keeper does not sweep", noSweep, "", byName["KILL supervisor"], off, 2},
		{"there is no keeper", noKeeper, "", byName["KILL supervisor"], off, 2},
		{"there is no death signal", noDeathSignal, "", bothKilled, off, 4},
		{"there is no death signal in a cgroup", noDeathSignal, "", bothKilled, auto, 4},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			needFilter(t, c.without)
			s := cell(row{traits: c.traits}, c.column, c.flag)
			s.Without, s.Within = c.without, leftAfter
			o := perform(t, s)
			if o.Err != "" || len(o.Left) < c.left || len(o.problems(s)) == 0 {
				t.Errorf("%d processes are left, want at least %d and a failure; outcome: %s",
					len(o.Left), c.left, encode(o))
			}
		})
	}
	t.Run("a bystander is touched", func(t *testing.T) {
		t.Parallel()
		s := cell(row{}, byName["TERM"])
		s.Faults = append([]fault{{Kind: hitBystander, When: whenReady}}, s.Faults...)
		o := perform(t, s)
		if len(o.problems(s)) != 1 || !strings.Contains(strings.Join(o.Touched, ""), "SIGUSR1") {
			t.Errorf("the problems are %q, want a bystander that got SIGUSR1; outcome: %s",
				o.problems(s), encode(o))
		}
	})
}

// needFilter skips the test if a mechanism cannot be switched off on this system.
func needFilter(t *testing.T, mechanism string) {
	t.Helper()
	if mechanism == noKeeper {
		return
	}
	if _, err := os.Stat("/proc/sys/kernel/seccomp"); err != nil {
		nvmltest.Unavailable(t, "this kernel has no seccomp filters")
	}
}

// TestACgroupNeedsNoSubreaper wants orphans in a control group to be found even if they become
// children of a process outside the job. TestNegativeControls has the same without a control group.
func TestACgroupNeedsNoSubreaper(t *testing.T) {
	for _, c := range []column{columns[0], columns[3]} {
		s := cell(row{traits: "ids"}, c, "--cgroup=auto")
		s.Without = noSubreaper
		o := perform(t, s)
		if o.Cgroup == "" {
			nvmltest.NotOnThisMachine(t, "no control group can be made here")
		}
		if len(o.Left) > 0 || len(o.Remains) > 0 {
			t.Errorf("%s: %d processes and %d control groups are left; outcome: %s",
				c.name, len(o.Left), len(o.Remains), encode(o))
		}
	}
}
