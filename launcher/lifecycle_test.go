package launcher

import (
	"errors"
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// fakeEffects records what a lifecycle does.
type fakeEffects struct {
	descendants int // what leftovers and killAll return
	did         []string
	logged      []string
	timer       time.Duration // 0 while stopped
}

func (f *fakeEffects) do(format string, args ...any) {
	f.did = append(f.did, fmt.Sprintf(format, args...))
}

func (f *fakeEffects) pauseStarting()                    { f.do("pause") }
func (f *fakeEffects) resumeStarting()                   { f.do("resume") }
func (f *fakeEffects) haltStarting()                     { f.do("halt") }
func (f *fakeEffects) abandonTemplate()                  { f.do("abandon") }
func (f *fakeEffects) signalWorkers(s syscall.Signal)    { f.do("signal %s", unix.SignalName(s)) }
func (f *fakeEffects) suspendWorker(*worker)             { f.do("suspend one") }
func (f *fakeEffects) askWorkers(s syscall.Signal)       { f.do("ask %s", unix.SignalName(s)) }
func (f *fakeEffects) askWorker(*worker, syscall.Signal) { f.do("ask one") }
func (f *fakeEffects) killWorker(*worker)                { f.do("kill one") }
func (f *fakeEffects) leftovers() int                    { return f.descendants }
func (f *fakeEffects) askLeftovers(s syscall.Signal) {
	f.do("ask leftovers %s", unix.SignalName(s))
}
func (f *fakeEffects) askOrphans(s syscall.Signal) {
	f.do("ask orphans %s", unix.SignalName(s))
}
func (f *fakeEffects) killAll() int                 { f.do("kill"); return f.descendants }
func (f *fakeEffects) giveUp()                      { f.do("give up") }
func (f *fakeEffects) killMembers()                 { f.do("kill members") }
func (f *fakeEffects) setTimer(d time.Duration)     { f.timer = d; f.do("timer %s", d) }
func (f *fakeEffects) stopTimer()                   { f.timer = 0 }
func (f *fakeEffects) drain()                       { f.do("drain") }
func (f *fakeEffects) stopAnnounced(syscall.Signal) { f.do("announce") }
func (f *fakeEffects) log(line string)              { f.logged = append(f.logged, line) }
func (f *fakeEffects) debug(string)                 {}

const (
	testGrace = 30 * time.Second
	testWait  = 7 * time.Second
)

// situation is what an attempt looks like before an event, apart from its state.
type situation struct {
	live        int  // workers that are alive, before the event
	spawning    bool // more workers are being started
	leftovers   int  // descendants that are left
	failureWait bool // the other workers may leave after a failure
	asked       bool // the user has asked for the end
	leaveBehind bool // descendants may live on after a job that ended well
	noSweep     bool // descendants are not waited for
}

// newLifecycle returns a lifecycle in a state and situation, and its effects.
func (s situation) newLifecycle(at state) (*lifecycle, *fakeEffects) {
	e := &fakeEffects{descendants: s.leftovers}
	l := &lifecycle{}
	p := policy{grace: testGrace, sweeps: !s.noSweep, leaveBehind: s.leaveBehind}
	if s.failureWait {
		p.failureWait = testWait
	}
	l.begin(e, p)
	e.timer = time.Hour // a timer of the state before
	l.state, l.live, l.spawning, l.userAsked = at, s.live, s.spawning, s.asked
	return l, e
}

var allStates = []state{starting, running, leaving, stopping, lingering, killing, draining, over}

// fakeWorker is a worker that has ended.
type fakeWorker struct{ failure bool }

func (w fakeWorker) failed() bool  { return w.failure }
func (fakeWorker) outcome() string { return "rank 1 (pid 4711) exited with code 3" }

// lifecycleTable has the next state for every state and every event. = means that the state stays,
// ! that the event is impossible there (which stops a job that is not being stopped yet), and .
// that the situation and the state exclude each other. If the next state depends on the situation,
// there is a row for each.
var lifecycleTable = []struct {
	event string
	in    situation
	act   func(*lifecycle)
	//            starting   running    leaving    stopping   lingering  killing    draining over
	next string
}{
	{"a worker starts", situation{live: 1, spawning: true},
		func(l *lifecycle) { l.spawned(&worker{}) },
		"            =          !          !          =          !          =          =        !"},
	{"a worker cannot be started, another is alive", situation{live: 1, spawning: true},
		func(l *lifecycle) { l.spawnFailed(errors.New("no")) },
		"            stopping   !          !          =          !          =          =        !"},
	{"no further worker starts, one is alive", situation{live: 1, spawning: true},
		(*lifecycle).spawningEnded,
		"            running    !          !          =          !          =          =        !"},
	{"no further worker starts, none is alive", situation{spawning: true},
		(*lifecycle).spawningEnded,
		"            draining   !          !          draining   !          draining   =        !"},
	{"no further worker starts, only leftovers are alive", situation{spawning: true, leftovers: 1},
		(*lifecycle).spawningEnded,
		"            lingering  !          !          lingering  !          =          =        !"},

	{"a worker ends well, another is alive", situation{live: 2},
		func(l *lifecycle) { l.workerExited(fakeWorker{}) },
		"            =          =          =          =          !          =          =        !"},
	{"a worker ends well, others are being started", situation{live: 1, spawning: true},
		func(l *lifecycle) { l.workerExited(fakeWorker{}) },
		"            =          =          =          =          !          =          =        !"},
	{"the last worker ends well", situation{live: 1},
		func(l *lifecycle) { l.workerExited(fakeWorker{}) },
		"            .          draining   draining   draining   !          draining   =        !"},
	{"the last worker ends well, leftovers are alive", situation{live: 1, leftovers: 1},
		func(l *lifecycle) { l.workerExited(fakeWorker{}) },
		"            .          lingering  lingering  lingering  !          =          =        !"},
	{"the last worker ends well, leftovers may live on",
		situation{live: 1, leftovers: 1, leaveBehind: true},
		func(l *lifecycle) { l.workerExited(fakeWorker{}) },
		"            .          draining   lingering  lingering  !          =          =        !"},
	{"the last worker ends well, without a sweep", situation{live: 1, noSweep: true},
		func(l *lifecycle) { l.workerExited(fakeWorker{}) },
		"            .          draining   draining   draining   !          draining   =        !"},
	{"a worker fails, another is alive", situation{live: 2},
		func(l *lifecycle) { l.workerExited(fakeWorker{failure: true}) },
		"            stopping   stopping   =          =          !          =          =        !"},
	{"a worker fails, another may leave by itself", situation{live: 2, failureWait: true},
		func(l *lifecycle) { l.workerExited(fakeWorker{failure: true}) },
		"            stopping   leaving    =          =          !          =          =        !"},
	{"the last worker fails", situation{live: 1, failureWait: true},
		func(l *lifecycle) { l.workerExited(fakeWorker{failure: true}) },
		"            .          draining   draining   draining   !          draining   =        !"},
	{"the last worker fails, leftovers are alive",
		situation{live: 1, leftovers: 1, leaveBehind: true},
		func(l *lifecycle) { l.workerExited(fakeWorker{failure: true}) },
		"            .          lingering  lingering  lingering  !          =          =        !"},
	{"the first worker fails at once", situation{live: 1, spawning: true},
		func(l *lifecycle) { l.workerExited(fakeWorker{failure: true}) },
		"            stopping   stopping   =          =          !          =          =        !"},

	{"the template dies, a worker is alive", situation{live: 1},
		func(l *lifecycle) { l.templateDied(errors.New("died")) },
		"            stopping   stopping   stopping   =          =          =          =        ="},
	{"the user asks for the end", situation{live: 1},
		func(l *lifecycle) { l.stopRequested(unix.SIGINT) },
		"            stopping   stopping   stopping   =          =          =          =        ="},
	{"the user asks to kill, something is left", situation{live: 1, leftovers: 1},
		(*lifecycle).killRequested,
		"            killing    killing    killing    killing    killing    =          =        ="},
	{"the user asks to kill, nothing is left", situation{}, (*lifecycle).killRequested,
		"            draining   draining   draining   draining   draining   =          =        ="},
	{"the keeper is gone", situation{live: 1}, (*lifecycle).hurryRequested,
		"            =          =          =          =          =          =          =        ="},
	{"suspension", situation{live: 1}, (*lifecycle).suspendRequested,
		"            =          =          =          =          =          =          =        ="},
	{"a signal for the workers", situation{live: 1},
		func(l *lifecycle) { l.signalRequested(unix.SIGUSR1) },
		"            =          =          =          =          =          =          =        ="},

	{"the time is up, something is left", situation{live: 1, leftovers: 1},
		(*lifecycle).timeExpired,
		"            !          !          stopping   killing    killing    draining   over     !"},
	{"the time is up, nothing is left", situation{}, (*lifecycle).timeExpired,
		"            !          !          stopping   draining   draining   draining   over     !"},
	{"a child has ended, something is left", situation{leftovers: 1}, (*lifecycle).childEnded,
		"            =          =          =          =          =          =          =        ="},
	{"a child has ended, nothing is left", situation{}, (*lifecycle).childEnded,
		"            =          =          =          =          draining   draining   =        ="},
	{"a child has ended, a worker is alive", situation{live: 1}, (*lifecycle).childEnded,
		"            =          =          =          =          .          =          =        ="},
	{"another round of SIGKILL, something is left", situation{leftovers: 1}, (*lifecycle).killAgain,
		"            !          !          !          !          !          =          !        !"},
	{"another round of SIGKILL, nothing is left", situation{}, (*lifecycle).killAgain,
		"            !          !          !          !          !          draining   !        !"},
	{"another round of SIGKILL, a worker is being started", situation{spawning: true},
		(*lifecycle).killAgain,
		"            !          !          !          !          !          =          !        !"},
	{"the output has been passed on", situation{}, (*lifecycle).drained,
		"            !          !          !          !          !          !          over     !"},
}

func TestLifecycle(t *testing.T) {
	for _, row := range lifecycleTable {
		cells := strings.Fields(row.next)
		if len(cells) != len(allStates) {
			t.Fatalf("%s: %d cells for %d states", row.event, len(cells), len(allStates))
		}
		for i, from := range allStates {
			if cells[i] == "." { // the situation and the state exclude each other
				continue
			}
			l, e := row.in.newLifecycle(from)
			row.act(l)
			want, impossible := cells[i], cells[i] == "!"
			switch {
			case want == "=" || impossible && from >= stopping:
				want = from.String()
			case impossible:
				want = stopping.String()
			}
			if l.state.String() != want {
				t.Errorf("%s while %s: %s, want %s (it did %q)", row.event, from, l.state, want,
					e.did)
			}
			if isError := l.err != nil &&
				strings.HasPrefix(l.err.Error(), "internal error: "); isError != impossible {
				t.Errorf("%s while %s: error %v, impossible %v", row.event, from, l.err, impossible)
			}
			checkEntry(t, fmt.Sprintf("%s while %s", row.event, from), from, l, e)
		}
	}
}

// checkEntry checks that the effects that belong to the entry of a state have happened.
func checkEntry(t *testing.T, what string, from state, l *lifecycle, e *fakeEffects) {
	t.Helper()
	did := " " + strings.Join(e.did, " | ") + " "
	needs := map[state][]string{
		leaving:   {" timer 7s "},
		stopping:  {" halt ", " ask ", " timer 30s ", " announce "},
		lingering: {" ask leftovers "},
		killing:   {" kill ", " timer 5s "},
		draining:  {" drain "},
	}[l.state]
	for _, need := range needs {
		if done := strings.Contains(did, need); done != (l.state != from) && l.state != from {
			t.Errorf("%s: %s without%s: %s", what, l.state, need, did)
		}
	}
	// Nothing waits forever: the states that end by a timer have one.
	timed := l.state == leaving || l.state == stopping || l.state == killing ||
		l.state == lingering && from != stopping
	if l.state != from && timed && (e.timer == 0 || e.timer == time.Hour) {
		t.Errorf("%s: %s has no end", what, l.state)
	}
	// A slow reader of the output is waited for, unless the user has asked for the end.
	if l.state == draining && from != draining && (e.timer != 0) != l.userAsked {
		t.Errorf("%s: draining ends within %s, userAsked is %v", what, e.timer, l.userAsked)
	}
}

// TestLifecycleTableIsComplete checks that every allowed transition is taken somewhere in the
// table.
func TestLifecycleTableIsComplete(t *testing.T) {
	taken := map[[2]state]bool{}
	for _, row := range lifecycleTable {
		for i, from := range allStates {
			if strings.Fields(row.next)[i] == "." {
				continue
			}
			l, e := row.in.newLifecycle(from)
			last := from
			l.effects = stepRecorder{e, func() {
				if l.state != last {
					taken[[2]state{last, l.state}] = true
					last = l.state
				}
			}}
			row.act(l)
			if l.state != last {
				taken[[2]state{last, l.state}] = true
			}
		}
	}
	for from, list := range successors {
		for _, to := range list {
			if !taken[[2]state{from, to}] {
				t.Errorf("no row of the table goes from %s to %s", from, to)
			}
		}
	}
}

// stepRecorder calls look before each effect.
type stepRecorder struct {
	*fakeEffects
	look func()
}

func (s stepRecorder) askWorkers(sig syscall.Signal)   { s.look(); s.fakeEffects.askWorkers(sig) }
func (s stepRecorder) askLeftovers(sig syscall.Signal) { s.look(); s.fakeEffects.askLeftovers(sig) }
func (s stepRecorder) setTimer(d time.Duration)        { s.look(); s.fakeEffects.setTimer(d) }
func (s stepRecorder) drain()                          { s.look(); s.fakeEffects.drain() }

// TestLifecycleEffects checks what an event does besides changing the state.
func TestLifecycleEffects(t *testing.T) {
	for _, c := range []struct {
		what string
		in   situation
		at   state
		act  func(*lifecycle)
		want string
	}{
		{"a late worker is asked", situation{spawning: true}, stopping,
			func(l *lifecycle) { l.spawned(&worker{}) }, "ask one"},
		{"a late worker is killed", situation{spawning: true}, killing,
			func(l *lifecycle) { l.spawned(&worker{}) }, "kill one"},
		{"a very late worker is killed", situation{spawning: true}, draining,
			func(l *lifecycle) { l.spawned(&worker{}) }, "kill one"},
		{"workers get the user's signal", situation{live: 1}, running, func(l *lifecycle) {
			l.stopRequested(unix.SIGINT)
		}, "halt | ask SIGINT | ask orphans SIGINT | timer 30s | announce"},
		{"leftovers get the user's signal", situation{live: 1, leftovers: 1}, running,
			func(l *lifecycle) { l.stopRequested(unix.SIGQUIT); l.workerExited(fakeWorker{}) },
			"halt | ask SIGQUIT | ask orphans SIGQUIT | timer 30s | announce | " +
				"ask leftovers SIGQUIT"},
		{"leftovers of a job that ended well have the grace period",
			situation{live: 1, leftovers: 1}, running,
			func(l *lifecycle) { l.workerExited(fakeWorker{}) },
			"timer 30s | ask leftovers SIGTERM"},
		{"leftovers of a worker are asked while another is alive", situation{live: 2}, stopping,
			func(l *lifecycle) { l.workerExited(fakeWorker{}) }, "ask orphans SIGTERM"},
		{"leftovers are not asked without a sweep", situation{live: 2, noSweep: true}, stopping,
			func(l *lifecycle) { l.workerExited(fakeWorker{}) }, ""},
		{"leftovers of a running job are left alone", situation{live: 2}, running,
			func(l *lifecycle) { l.workerExited(fakeWorker{}) }, ""},
		{"members of the control group are killed at the end", situation{live: 1}, running,
			func(l *lifecycle) { l.workerExited(fakeWorker{}) }, "kill members | drain"},
		{"members of the control group may live on", situation{live: 1, leaveBehind: true}, running,
			func(l *lifecycle) { l.workerExited(fakeWorker{}) }, "drain"},
		{"a template that hangs is abandoned", situation{spawning: true}, stopping,
			(*lifecycle).timeExpired, "abandon | timer 5s | kill"},
		{"what cannot be killed is recorded", situation{live: 1}, killing, (*lifecycle).timeExpired,
			"give up | kill members | drain"},
		{"output is passed on for 2 s after a request", situation{live: 1}, running,
			func(l *lifecycle) { l.stopRequested(unix.SIGTERM); l.workerExited(fakeWorker{}) },
			"halt | ask SIGTERM | ask orphans SIGTERM | timer 30s | announce | kill members | " +
				"drain | timer 2s"},
		{"a request while draining leaves 1 s for output", situation{}, draining,
			func(l *lifecycle) { l.stopRequested(unix.SIGTERM) }, "timer 1s"},
		{"a hurry leaves a moment of the grace period", situation{live: 1}, stopping,
			(*lifecycle).hurryRequested,
			"timer 100ms"},
		{"a suspension pauses starting", situation{live: 1, spawning: true}, starting,
			(*lifecycle).suspendRequested, "pause | signal SIGSTOP"},
		{"a worker that was being started is suspended", situation{spawning: true}, starting,
			func(l *lifecycle) { l.suspendRequested(); l.spawned(&worker{}) },
			"pause | signal SIGSTOP | suspend one"},
		{"a worker that starts after a suspension runs", situation{spawning: true}, starting,
			func(l *lifecycle) {
				l.suspendRequested()
				l.signalRequested(unix.SIGCONT)
				l.spawned(&worker{})
			}, "pause | signal SIGSTOP | resume | signal SIGCONT"},
		{"SIGCONT resumes starting", situation{live: 1, spawning: true}, starting,
			func(l *lifecycle) { l.suspendRequested(); l.signalRequested(unix.SIGCONT) },
			"pause | signal SIGSTOP | resume | signal SIGCONT"},
		{"SIGCONT alone is passed on", situation{live: 1}, running,
			func(l *lifecycle) { l.signalRequested(unix.SIGCONT) }, "signal SIGCONT"},
		{"SIGKILL is repeated while something is left", situation{leftovers: 3}, killing,
			(*lifecycle).killAgain, "kill"},
	} {
		l, e := c.in.newLifecycle(c.at)
		c.act(l)
		if got := strings.Join(e.did, " | "); got != c.want {
			t.Errorf("%s:\n got %s\nwant %s", c.what, got, c.want)
		}
	}
}

// TestHurryDoesNotExtendGracePeriod checks that a grace period that is shorter than hurriedGrace
// stays as it is.
func TestHurryDoesNotExtendGracePeriod(t *testing.T) {
	l, e := situation{live: 1}.newLifecycle(stopping)
	l.policy.grace = time.Millisecond
	l.hurryRequested()
	if e.timer != time.Millisecond {
		t.Errorf("%s are left", e.timer)
	}
}

// TestImpossibleEventsStopTheJob checks that an impossible event is logged with the state and stops
// the job in order.
func TestImpossibleEventsStopTheJob(t *testing.T) {
	l, e := situation{live: 1}.newLifecycle(running)
	l.drained()
	if l.state != stopping || l.err == nil || startCode(l.err) != 125 {
		t.Errorf("%s, %v", l.state, l.err)
	}
	if len(e.logged) != 1 || !strings.Contains(e.logged[0],
		"the end of the output cannot happen to a job that is running") {
		t.Errorf("logged %q", e.logged)
	}
	// A transition that is not allowed is impossible, too.
	l, _ = situation{live: 1}.newLifecycle(running)
	l.enter(over)
	if l.state != stopping || l.err == nil {
		t.Errorf("%s, %v", l.state, l.err)
	}
}
