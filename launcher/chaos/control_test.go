//go:build linux

package chaos

import (
	"os"
	"strings"
	"testing"

	"github.com/gpulaunch/gpulaunch/gpu/nvml/nvmltest"
)

// TestNegativeControls takes one mechanism away at a time, and wants the invariants
// to fail for it.
func TestNegativeControls(t *testing.T) {
	byName := map[string]column{}
	for _, c := range columns {
		byName[c.name] = c
	}
	bothKilled := column{faults: []fault{{Kind: killBoth, When: whenReady}}, grace: shortGrace, status: 137}
	for _, c := range []struct {
		name, without string
		traits        string
		column        column
		flag          string
		left          int // how many at least
	}{
		{"the supervisor is no subreaper", noSubreaper, "ds", byName["TERM"], "--cgroup=off", 2},
		{"nor the keeper", noSubreaper, "ds", byName["KILL supervisor"], "--cgroup=off", 2},
		{"a crash without a subreaper", noSubreaper, "di", byName["a worker crashes"], "--cgroup=off", 2},
		{"the supervisor does not sweep", noSweep, "is", byName["TERM"], "--cgroup=off", 2},
		{"the supervisor does not sweep when its keeper is gone", noSweep, "is", byName["KILL keeper"], "--cgroup=off", 2},
		{"the keeper does not sweep", noSweep, "", byName["KILL supervisor"], "--cgroup=off", 2},
		{"there is no keeper", noKeeper, "", byName["KILL supervisor"], "--cgroup=off", 2},
		{"no death signal", noDeathSignal, "", bothKilled, "--cgroup=off", 4},
		{"no death signal, in a cgroup", noDeathSignal, "", bothKilled, "--cgroup=auto", 4},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			needFilter(t, c.without)
			s := cell(row{traits: c.traits}, c.column, c.flag)
			s.Without = c.without
			o := perform(t, s)
			if o.Err != "" || len(o.Left) < c.left || len(o.problems(s)) == 0 {
				t.Errorf("%d processes left, want at least %d:\n%s", len(o.Left), c.left, encode(o))
			}
		})
	}
	t.Run("a bystander is touched", func(t *testing.T) {
		t.Parallel()
		s := cell(row{}, byName["TERM"])
		s.Faults = append([]fault{{Kind: hitBystander, When: whenReady}}, s.Faults...)
		if o := perform(t, s); len(o.problems(s)) != 1 || !strings.Contains(o.Touched[0], "SIGUSR1") {
			t.Errorf("%s", encode(o))
		}
	})
}

// needFilter skips where a mechanism cannot be taken away.
func needFilter(t *testing.T, mechanism string) {
	t.Helper()
	if mechanism == noKeeper {
		return
	}
	if _, err := os.Stat("/proc/sys/kernel/seccomp"); err != nil {
		nvmltest.Unavailable(t, "this kernel has no seccomp filters")
	}
}

// TestACgroupNeedsNoSubreaper: in a cgroup, what has lost its parent is found even
// if it went to nobody of ours. TestNegativeControls has the same without one.
func TestACgroupNeedsNoSubreaper(t *testing.T) {
	for _, c := range []column{columns[0], columns[3]} {
		s := cell(row{traits: "ids"}, c, "--cgroup=auto")
		s.Without = noSubreaper
		o := perform(t, s)
		if o.Cgroup == "" {
			t.Skip("no cgroup can be made here")
		}
		if len(o.Left) > 0 || len(o.Remains) > 0 {
			t.Errorf("%s: %s", c.name, encode(o))
		}
	}
}
