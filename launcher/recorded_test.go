package launcher

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/gpulaunch/gpulaunch/launcher/internal/cgroup"
	"github.com/gpulaunch/gpulaunch/launcher/internal/process"
	"github.com/gpulaunch/gpulaunch/launcher/plan"
)

// TestRecordResult checks what is recorded of an attempt that is over: only workers whose end is
// known, how many were not started, and the exit code if something cannot be killed.
func TestRecordResult(t *testing.T) {
	h := newHarness(t, "ignore")
	a := h.newAttempt(nil)
	a.plan.Workers = append(a.plan.Workers, make([]plan.Worker, 4)...)
	h.startOne(a) // lives on
	ended, lost := h.startOne(a), h.startOne(a)
	ended.SignalGroup(unix.SIGKILL)
	ended.Wait()
	lost.SignalGroup(unix.SIGKILL)
	// Somebody else waits for it.
	if _, err := unix.Wait4(lost.PID, nil, 0, nil); err != nil {
		t.Fatal(err)
	}
	lost.Wait()
	a.unkillable = []process.Descendant{{PID: 1}}
	a.recordResult()
	r := a.Result()
	if len(r.Workers) != 1 || r.Workers[0].PID != ended.PID || r.NotStarted != 2 {
		t.Errorf("%d were not started; workers %v", r.NotStarted, r.Workers)
	}
	if !lost.failed() || lost.End().Err == nil {
		t.Errorf("a worker whose end is unknown counts as one that ended well: %+v", lost.End())
	}

	b := newHarness(t).newAttempt(nil)
	b.unkillable = []process.Descendant{{PID: 1}}
	b.userAsked = true
	b.recordResult()
	if r := b.Result(); r.ExitCode != 125 || r.Signal != "" {
		t.Errorf("something is left: exit code %d, %q", r.ExitCode, r.Signal)
	}
}

// TestOutOfMemoryIsRecorded checks that the count of the job's control group is recorded.
func TestOutOfMemoryIsRecorded(t *testing.T) {
	for events, want := range map[string]bool{"oom 1\noom_kill 2\n": true, "oom_kill 0\n": false} {
		folder := t.TempDir() // has the files of a control group, and is none
		err := os.WriteFile(filepath.Join(folder, "memory.events"), []byte(events), 0o600)
		if err != nil {
			t.Fatal(err)
		}
		a := newHarness(t).newAttempt(&cgroup.Group{Path: folder})
		a.recordResult()
		if got := a.Result().OutOfMemory; got != want {
			t.Errorf("%q: out of memory %v", events, got)
		}
	}
}

// TestWhatAFailedWorkerLeft checks what is recorded of a failed worker's standard error and of an
// error file that cannot be used.
func TestWhatAFailedWorkerLeft(t *testing.T) {
	for script, want := range map[string]struct {
		stderr []string
		silent bool
		file   string
	}{
		"exit 3":                                      {nil, true, ""},
		"echo one >&2; echo two >&2; exit 3":          {[]string{"one", "two"}, false, ""},
		`mkdir "$TORCHELASTIC_ERROR_FILE"; exit 3`:    {nil, true, "it is a folder"},
		`echo x > "$TORCHELASTIC_ERROR_FILE"; exit 0`: {nil, false, ""},
	} {
		h := newHarness(t)
		h.cfg.Argv = []string{"/bin/sh", "-c", script}
		w := h.run(1).Workers[0]
		if !slices.Equal(w.LastStderr, want.stderr) || w.Silent != want.silent ||
			w.ErrorFile != want.file {
			t.Errorf("%s: last lines %q, silent %v, error file %q", script, w.LastStderr, w.Silent,
				w.ErrorFile)
		}
	}
}

// TestEarlierOOMKillsDoNotCount checks that an attempt counts OOM kills from its own beginning, so
// that a worker that is killed from outside is not taken for one that ran out of memory.
func TestEarlierOOMKillsDoNotCount(t *testing.T) {
	folder := t.TempDir()
	write := func(events string) {
		if err := os.WriteFile(filepath.Join(folder, "memory.events"), []byte(events),
			0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("oom_kill 5\n")
	a := newHarness(t).newAttempt(&cgroup.Group{Path: folder})
	if a.oomKills != 5 {
		t.Errorf("it begins with %d OOM kills, want the 5 from before", a.oomKills)
	}
	write("oom_kill 6\n")
	if n := a.countOOMKills(); n != 6 {
		t.Errorf("%d OOM kills, want 6", n)
	}
}
