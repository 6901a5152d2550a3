package launcher

import (
	"os"
	"os/exec"
	"slices"
	"strconv"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/gpulaunch/gpulaunch/launcher/internal/process"
	"github.com/gpulaunch/gpulaunch/launcher/internal/spawn"
	"github.com/gpulaunch/gpulaunch/launcher/launchertest"
	"github.com/gpulaunch/gpulaunch/launcher/plan"
)

// startOne starts a worker of an attempt that does not run.
func (h *harness) startOne(a *Attempt) *worker {
	h.t.Helper()
	null, err := os.Open(os.DevNull)
	if err != nil {
		h.t.Fatal(err)
	}
	defer null.Close()
	a.cfg.Output = OutputInherit
	planned := &plan.Worker{CPUs: launchertest.AllowedCPUs(h.t)}
	var p *spawn.Process
	done := make(chan struct{})
	a.sup.Spawner().Go(func() {
		defer close(done)
		p, _, err = a.startWorker(planned, null)
	})
	<-done
	if err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(func() {
		if p.Alive() {
			p.SignalGroup(unix.SIGKILL)
			p.Wait()
		}
	})
	w := &worker{Worker: planned, Process: p}
	a.workers = append(a.workers, w)
	return w
}

// zombie starts a child that has ended and that nobody waits for, as an orphan of a worker is.
func zombie(t *testing.T) process.Descendant {
	t.Helper()
	cmd := exec.Command("true")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Wait() }) // fails if it has been reaped
	var d process.Descendant
	if !launchertest.Poll(func() bool {
		d, _ = process.Read(cmd.Process.Pid)
		return d.State == 'Z'
	}) {
		t.Fatalf("%s does not end", d)
	}
	return d
}

func TestKillWorker(t *testing.T) {
	h := newHarness(t, "ignore")
	a := h.newAttempt(nil)
	w := h.startOne(a)
	a.killWorker(w)
	w.Wait()
	if end := w.End(); !end.Status.EndedBy(unix.SIGKILL) {
		t.Errorf("it %s", end.Status)
	}
}

// TestEndedOrphansAreReaped checks that a descendant that has ended does not count as left, and that
// it is not announced as one.
func TestEndedOrphansAreReaped(t *testing.T) {
	for what, count := range map[string]func(a *Attempt) int{
		"leftovers": (*Attempt).leftovers, "killAll": (*Attempt).killAll,
	} {
		h := newHarness(t)
		a := h.newAttempt(nil)
		a.policy.sweeps = true
		d := zombie(t)
		if n := count(a); n != 0 {
			t.Errorf("%s counts %d", what, n)
		}
		if _, ok := process.Read(d.PID); ok {
			t.Errorf("%s has not reaped %s", what, d)
		}
	}
	h := newHarness(t)
	a := h.newAttempt(nil)
	zombie(t)
	a.askLeftovers(unix.SIGTERM)
	if len(h.logged) != 0 {
		t.Errorf("of one that has ended is said: %q", h.logged)
	}
	if !a.leftoversAsked {
		t.Error("it is forgotten that leftovers have been asked")
	}
}

// TestWhoCountsAsKilled checks which of the processes that are killed are named: not those that share
// the group of a worker that is killed at the same time, unless they have outlived the worker.
func TestWhoCountsAsKilled(t *testing.T) {
	for _, c := range []struct{ asked, signalled, want bool }{
		{false, false, true}, {false, true, false}, {true, false, true}, {true, true, true},
	} {
		h := newHarness(t)
		a := h.newAttempt(nil)
		a.policy.sweeps = true
		left := startChild(t, nil, "ignore")
		pid := left.Process.Pid
		a.leftoversAsked, a.signalled[pid] = c.asked, c.signalled
		if n := a.killAll(); n != 1 {
			t.Errorf("%d are left at the time of the signal, want 1", n)
		}
		launchertest.Gone(t, strconv.Itoa(pid))
		if got := len(a.killed) == 1; got != c.want {
			t.Errorf("%+v: killed %v", c, a.killed)
		}
		select {
		case <-a.killTimer.C: // another round follows
		case <-time.After(launchertest.Patience):
			t.Error("no other round of SIGKILL follows")
		}
		if a.killAll(); len(a.killed) > 1 {
			t.Errorf("one process is named twice: %v", a.killed)
		}
	}
}

// TestGiveUp checks that the workers that are alive are recorded as unkillable, and no others, and
// that no round of SIGKILL follows.
func TestGiveUp(t *testing.T) {
	h := newHarness(t, "ignore")
	a := h.newAttempt(nil)
	alive, ended := h.startOne(a), h.startOne(a)
	ended.SignalGroup(unix.SIGKILL)
	ended.Wait()
	a.killTimer.Reset(time.Hour)
	a.giveUp()
	if len(a.unkillable) != 1 || a.unkillable[0].PID != alive.PID {
		t.Errorf("unkillable are %v, want process %d", a.unkillable, alive.PID)
	}
	if a.killTimer.Stop() {
		t.Error("another round of SIGKILL would follow")
	}
	// What a job leaves behind is recorded only if it sweeps.
	left := startChild(t, nil, "ignore")
	for _, sweeps := range []bool{false, true} {
		a.policy.sweeps, a.unkillable = sweeps, nil
		a.giveUp()
		found := slices.ContainsFunc(a.unkillable,
			func(d process.Descendant) bool { return d.PID == left.Process.Pid })
		if found != sweeps {
			t.Errorf("sweeps %v: unkillable are %v", sweeps, a.unkillable)
		}
	}
}

// TestStopTimer checks that neither of the timers fires once they are stopped.
func TestStopTimer(t *testing.T) {
	a := newHarness(t).newAttempt(nil)
	a.setTimer(time.Hour)
	a.killTimer.Reset(time.Hour)
	a.stopTimer()
	if a.timer.Stop() || a.killTimer.Stop() {
		t.Error("a timer runs that has been stopped")
	}
	a.setTimer(time.Hour)
	if !a.timer.Stop() {
		t.Error("a timer does not run that has been set")
	}
}

// TestEachIsRecordedOnce checks that a process that is killed in several rounds is recorded once.
func TestEachIsRecordedOnce(t *testing.T) {
	a := newHarness(t).newAttempt(nil)
	for _, pid := range []int{1, 2, 1, 2, 3} {
		a.recordKilled(process.Descendant{PID: pid})
	}
	if len(a.killed) != 3 {
		t.Errorf("%v", a.killed)
	}
}

// TestWhatCountsAsADescendant checks that neither a worker of the job nor a zombie that a living
// process has to wait for counts as left, and that children of children do.
func TestWhatCountsAsADescendant(t *testing.T) {
	h := newHarness(t, "ignore")
	a := h.newAttempt(nil)
	h.startOne(a)
	if list := a.descendants(); len(list) != 0 {
		t.Errorf("a worker counts: %v", list)
	}
	// cat takes the place of the shell, and waits for neither of the shell's children.
	cmd := exec.Command("sh", "-c", "true & cat <&3 & exec cat")
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.ExtraFiles = []*os.File{r}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	r.Close()
	t.Cleanup(func() {
		w.Close()
		stdin.Close()
		_ = cmd.Wait()
	})
	var list []process.Descendant
	settled := launchertest.Poll(func() bool {
		list = a.descendants()
		return len(list) == 2 && list[0].Name == "cat" && list[1].Name == "cat"
	})
	if !settled {
		t.Errorf("%v count, want a cat and its child", list)
	}
}

// TestStopIsAnnounced checks that observers learn that the workers have been asked to end.
func TestStopIsAnnounced(t *testing.T) {
	h := newHarness(t)
	h.newAttempt(nil).stopAnnounced(unix.SIGINT)
	if len(h.events) != 1 || h.events[0].Kind != JobStopping || h.events[0].Text != "SIGINT" {
		t.Errorf("%+v", h.events)
	}
}
