package launcher

import (
	"errors"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"

	"golang.org/x/sys/unix"
)

// begun returns a lifecycle as it is before its first event, and its effects.
func begun(s situation) (*lifecycle, *fakeEffects) {
	l, e := s.newLifecycle(starting)
	l.live, l.spawning = 0, true
	return l, e
}

// TestWorkersAreCounted checks that an attempt ends with the last of its workers and not before.
func TestWorkersAreCounted(t *testing.T) {
	l, _ := begun(situation{})
	l.spawned(&worker{})
	l.spawned(&worker{})
	l.spawningEnded()
	for i, want := range []state{running, draining} {
		l.workerExited(fakeWorker{})
		if l.state != want {
			t.Errorf("after the end of worker %d: %s, want %s", i, l.state, want)
		}
	}
}

// TestWhatIsSaid checks what the user is told of a failure, and which error is recorded.
func TestWhatIsSaid(t *testing.T) {
	failed, gone := errors.New("no such file"), errors.New("the template is gone")
	const exited = "rank 1 (pid 4711) exited with code 3"
	for what, c := range map[string]struct {
		in   situation
		at   state
		act  func(*lifecycle)
		says string
		err  error
	}{
		"a worker fails": {situation{live: 3}, running, func(l *lifecycle) {
			l.workerExited(fakeWorker{failure: true})
		}, exited + ": stopping the other 2 workers (SIGTERM, then SIGKILL after 30s)", nil},
		"a worker fails, the other may leave": {situation{live: 2, failureWait: true}, running,
			func(l *lifecycle) { l.workerExited(fakeWorker{failure: true}) },
			exited + ": up to 7s for the other worker to leave unasked, then SIGTERM", nil},
		"it has not left": {situation{live: 1}, leaving, (*lifecycle).timeExpired,
			"stopping the other worker (SIGTERM, then SIGKILL after 30s)", nil},
		"the last worker fails": {situation{live: 1}, running, func(l *lifecycle) {
			l.workerExited(fakeWorker{failure: true})
		}, "", nil},
		"a worker cannot be started": {situation{live: 1, spawning: true}, starting,
			func(l *lifecycle) { l.spawnFailed(failed) }, "", failed},
		"the template dies": {situation{live: 2}, running,
			func(l *lifecycle) { l.templateDied(gone) },
			"the template is gone: stopping 2 workers", gone},
		"the template dies at the end": {situation{live: 2}, stopping,
			func(l *lifecycle) { l.templateDied(gone) }, "", nil},
	} {
		l, e := c.in.newLifecycle(c.at)
		c.act(l)
		if got := strings.Join(e.logged, "\n"); got != c.says || l.err != c.err {
			t.Errorf("%s: %q and error %v, want %q and %v", what, got, l.err, c.says, c.err)
		}
	}
}

// TestOnlySIGCONTResumes checks that a suspended attempt starts no worker until SIGCONT comes, and
// that a second SIGCONT changes nothing.
func TestOnlySIGCONTResumes(t *testing.T) {
	l, e := situation{live: 1, spawning: true}.newLifecycle(starting)
	l.suspendRequested()
	for _, sig := range []syscall.Signal{unix.SIGUSR1, unix.SIGCONT, unix.SIGCONT} {
		l.signalRequested(sig)
	}
	const want = "pause | signal SIGSTOP | signal SIGUSR1 | resume | signal SIGCONT | " +
		"signal SIGCONT"
	if got := strings.Join(e.did, " | "); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

// vanishing are the effects of an attempt whose leftovers end as soon as they are asked to.
type vanishing struct{ *fakeEffects }

func (v vanishing) askLeftovers(sig syscall.Signal) {
	v.fakeEffects.askLeftovers(sig)
	v.descendants = 0
}

// TestLeftoversThatEndAtOnce checks that an attempt does not wait for leftovers that have ended
// before it could wait for them: no further event would come.
func TestLeftoversThatEndAtOnce(t *testing.T) {
	l, e := situation{live: 1, leftovers: 1}.newLifecycle(running)
	l.effects = vanishing{e}
	l.workerExited(fakeWorker{})
	if l.state != draining {
		t.Errorf("it is %s, want %s", l.state, draining)
	}
}

// TestMembersAreKilledUnlessTheyMayStay checks that the members of the control group live on only
// if the job may leave processes behind and ends well.
func TestMembersAreKilledUnlessTheyMayStay(t *testing.T) {
	for _, c := range []struct {
		at    state
		leave bool
		want  bool
	}{
		{running, true, false}, {running, false, true},
		{leaving, true, true}, {stopping, true, true}, {stopping, false, true},
	} {
		l, e := situation{live: 1, leaveBehind: c.leave}.newLifecycle(c.at)
		l.workerExited(fakeWorker{})
		if got := strings.Contains(strings.Join(e.did, " | "), "kill members"); got != c.want {
			t.Errorf("%s, may leave: %v: members are killed: %v", c.at, c.leave, got)
		}
	}
}

// TestGateOfAnAttempt checks that the effects of a lifecycle control the starting of workers.
func TestGateOfAnAttempt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newHarness(t).newAttempt(nil)
		passes := func() chan bool {
			c := make(chan bool, 1)
			go func() { c <- a.gate.pass() }()
			synctest.Wait()
			return c
		}
		if c := passes(); len(c) != 1 || !<-c {
			t.Error("workers are not started from the beginning")
		}
		a.pauseStarting()
		c := passes()
		if len(c) != 0 {
			t.Error("a worker is started during a pause")
		}
		a.resumeStarting()
		if !<-c {
			t.Error("no worker is started after a pause")
		}
		a.pauseStarting()
		c = passes()
		a.haltStarting()
		if <-c {
			t.Error("a worker is started after the end of starting")
		}
		a.abandonTemplate() // there is none
	})
}
