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

// fakeWorld writes down what a lifecycle does, and has as many leftovers as a test says.
type fakeWorld struct {
	left  int // of descendants
	did   []string
	said  []string
	timer time.Duration // 0 while stopped
}

func (f *fakeWorld) do(format string, args ...any) {
	f.did = append(f.did, fmt.Sprintf(format, args...))
}

func (f *fakeWorld) pauseStarting()                    { f.do("pause") }
func (f *fakeWorld) resumeStarting()                   { f.do("resume") }
func (f *fakeWorld) haltStarting()                     { f.do("halt") }
func (f *fakeWorld) abandonTemplate()                  { f.do("abandon") }
func (f *fakeWorld) signalWorkers(s syscall.Signal)    { f.do("signal %s", unix.SignalName(s)) }
func (f *fakeWorld) askWorkers(s syscall.Signal)       { f.do("ask %s", unix.SignalName(s)) }
func (f *fakeWorld) askWorker(*worker, syscall.Signal) { f.do("ask one") }
func (f *fakeWorld) killWorker(*worker)                { f.do("kill one") }
func (f *fakeWorld) leftovers() int                    { return f.left }
func (f *fakeWorld) askLeftovers(s syscall.Signal) {
	f.do("ask leftovers %s", unix.SignalName(s))
}
func (f *fakeWorld) killAll() int                 { f.do("kill"); return f.left }
func (f *fakeWorld) giveUp()                      { f.do("give up") }
func (f *fakeWorld) killMembers()                 { f.do("kill members") }
func (f *fakeWorld) setTimer(d time.Duration)     { f.timer = d; f.do("timer %s", d) }
func (f *fakeWorld) stopTimer()                   { f.timer = 0 }
func (f *fakeWorld) drain()                       { f.do("drain") }
func (f *fakeWorld) stopAnnounced(syscall.Signal) { f.do("announce") }
func (f *fakeWorld) say(line string)              { f.said = append(f.said, line) }
func (f *fakeWorld) debug(string)                 {}

const (
	testGrace = 30 * time.Second
	testWait  = 7 * time.Second
)

// situation is where an attempt stands before an event.
type situation struct {
	live     int  // workers, before the event
	spawning bool // more are being started
	left     int  // descendants
	wait     bool // a failure wait is set
	asked    bool // the user has asked for the end
	leave    bool // leftovers of a good end are left
	alone    bool // descendants are not looked for
}

// in puts an attempt into a state.
func (s situation) in(at state) (*lifecycle, *fakeWorld) {
	w := &fakeWorld{left: s.left}
	l := &lifecycle{}
	p := policy{grace: testGrace, sweeps: !s.alone, leaveBehind: s.leave}
	if s.wait {
		p.failureWait = testWait
	}
	l.begin(w, p)
	w.timer = time.Hour // of the state before
	l.state, l.live, l.spawning, l.asked = at, s.live, s.spawning, s.asked
	return l, w
}

var allStates = []state{starting, running, leaving, stopping, lingering, killing, draining, over}

// ended is a worker that has ended.
type ended struct{ bad bool }

func (e ended) failed() bool { return e.bad }
func (ended) ending() string { return "rank 1 (pid 4711) exited with code 3" }

// lifecycleTable says for every state and every event what comes of it: the next state, or
// = for the same one, and ! for what cannot happen, which stops a job that is not being
// stopped yet. Where it depends on the situation there is a row for each.
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
	{"a worker cannot be started, others live", situation{live: 1, spawning: true},
		func(l *lifecycle) { l.spawnFailed(errors.New("no")) },
		"            stopping   !          !          =          !          =          =        !"},
	{"no further worker starts, some live", situation{live: 1, spawning: true},
		(*lifecycle).spawningEnded,
		"            running    !          !          =          !          =          =        !"},
	{"no further worker starts, none lives", situation{spawning: true}, (*lifecycle).spawningEnded,
		"            draining   !          !          draining   !          draining   =        !"},
	{"no further worker starts, none lives, leftovers", situation{spawning: true, left: 1},
		(*lifecycle).spawningEnded,
		"            lingering  !          !          lingering  !          =          =        !"},

	{"a worker ends well, others live", situation{live: 2},
		func(l *lifecycle) { l.workerExited(ended{}) },
		"            =          =          =          =          !          =          =        !"},
	{"a worker ends well, others are being started", situation{live: 1, spawning: true},
		func(l *lifecycle) { l.workerExited(ended{}) },
		"            =          =          =          =          !          =          =        !"},
	{"the last worker ends well", situation{live: 1},
		func(l *lifecycle) { l.workerExited(ended{}) },
		"            .          draining   draining   draining   !          draining   =        !"},
	{"the last worker ends well, leftovers", situation{live: 1, left: 1},
		func(l *lifecycle) { l.workerExited(ended{}) },
		"            .          lingering  lingering  lingering  !          =          =        !"},
	{"the last worker ends well, leftovers are left", situation{live: 1, left: 1, leave: true},
		func(l *lifecycle) { l.workerExited(ended{}) },
		"            .          draining   lingering  lingering  !          =          =        !"},
	{"the last worker ends well, nobody looks for leftovers", situation{live: 1, alone: true},
		func(l *lifecycle) { l.workerExited(ended{}) },
		"            .          draining   draining   draining   !          draining   =        !"},
	{"a worker fails, others live", situation{live: 2},
		func(l *lifecycle) { l.workerExited(ended{bad: true}) },
		"            stopping   stopping   =          =          !          =          =        !"},
	{"a worker fails, others live and may leave", situation{live: 2, wait: true},
		func(l *lifecycle) { l.workerExited(ended{bad: true}) },
		"            stopping   leaving    =          =          !          =          =        !"},
	{"the last worker fails", situation{live: 1, wait: true},
		func(l *lifecycle) { l.workerExited(ended{bad: true}) },
		"            .          draining   draining   draining   !          draining   =        !"},
	{"the last worker fails, leftovers", situation{live: 1, left: 1, leave: true},
		func(l *lifecycle) { l.workerExited(ended{bad: true}) },
		"            .          lingering  lingering  lingering  !          =          =        !"},
	{"the first worker fails at once", situation{live: 1, spawning: true},
		func(l *lifecycle) { l.workerExited(ended{bad: true}) },
		"            stopping   stopping   =          =          !          =          =        !"},

	{"the template dies, workers live", situation{live: 1},
		func(l *lifecycle) { l.templateDied(errors.New("died")) },
		"            stopping   stopping   stopping   =          =          =          =        ="},
	{"the user wants the end", situation{live: 1},
		func(l *lifecycle) { l.stopRequested(unix.SIGINT) },
		"            stopping   stopping   stopping   =          =          =          =        ="},
	{"the user does not wait, something is left", situation{live: 1, left: 1},
		(*lifecycle).killRequested,
		"            killing    killing    killing    killing    killing    =          =        ="},
	{"the user does not wait, nothing is left", situation{}, (*lifecycle).killRequested,
		"            draining   draining   draining   draining   draining   =          =        ="},
	{"the keeper is gone", situation{live: 1}, (*lifecycle).hurryRequested,
		"            =          =          =          =          =          =          =        ="},
	{"suspension", situation{live: 1}, (*lifecycle).suspendRequested,
		"            =          =          =          =          =          =          =        ="},
	{"a signal for the workers", situation{live: 1},
		func(l *lifecycle) { l.signalRequested(unix.SIGUSR1) },
		"            =          =          =          =          =          =          =        ="},

	{"the time is up, something is left", situation{live: 1, left: 1}, (*lifecycle).timeExpired,
		"            !          !          stopping   killing    killing    draining   over     !"},
	{"the time is up, nothing is left", situation{}, (*lifecycle).timeExpired,
		"            !          !          stopping   draining   draining   draining   over     !"},
	{"a child has ended, something is left", situation{left: 1}, (*lifecycle).childEnded,
		"            =          =          =          =          =          =          =        ="},
	{"a child has ended, nothing is left", situation{}, (*lifecycle).childEnded,
		"            =          =          =          =          draining   draining   =        ="},
	{"a child has ended, a worker lives", situation{live: 1}, (*lifecycle).childEnded,
		"            =          =          =          =          .          =          =        ="},
	{"another round, something is left", situation{left: 1}, (*lifecycle).killAgain,
		"            !          !          !          !          !          =          !        !"},
	{"another round, nothing is left", situation{}, (*lifecycle).killAgain,
		"            !          !          !          !          !          draining   !        !"},
	{"another round, a worker is being started", situation{spawning: true}, (*lifecycle).killAgain,
		"            !          !          !          !          !          =          !        !"},
	{"the output is at its end", situation{}, (*lifecycle).drained,
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
			l, w := row.in.in(from)
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
					w.did)
			}
			if isError := l.err != nil &&
				strings.HasPrefix(l.err.Error(), "internal error: "); isError != impossible {
				t.Errorf("%s while %s: error %v, impossible %v", row.event, from, l.err, impossible)
			}
			checkEntry(t, fmt.Sprintf("%s while %s", row.event, from), from, l, w)
		}
	}
}

// checkEntry checks what has to be done on the way to a state.
func checkEntry(t *testing.T, what string, from state, l *lifecycle, w *fakeWorld) {
	t.Helper()
	did := " " + strings.Join(w.did, " | ") + " "
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
	// Nobody waits for ever: the states that end by a timer have one.
	timed := l.state == leaving || l.state == stopping || l.state == killing ||
		l.state == lingering && from != stopping
	if l.state != from && timed && (w.timer == 0 || w.timer == time.Hour) {
		t.Errorf("%s: %s has no end", what, l.state)
	}
	// A reader of ours may take his time, unless the user wants the end.
	if l.state == draining && from != draining && (w.timer != 0) != l.asked {
		t.Errorf("%s: draining ends within %s, asked for is %v", what, w.timer, l.asked)
	}
}

// Every method of the lifecycle that is an event has a row, and every allowed step between
// states is taken somewhere in the table.
func TestLifecycleTableIsWhole(t *testing.T) {
	taken := map[[2]state]bool{}
	for _, row := range lifecycleTable {
		for i, from := range allStates {
			if strings.Fields(row.next)[i] == "." {
				continue
			}
			l, w := row.in.in(from)
			last := from
			l.world = stepRecorder{w, func() {
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

// stepRecorder looks at the state before each effect.
type stepRecorder struct {
	*fakeWorld
	look func()
}

func (s stepRecorder) askWorkers(sig syscall.Signal)   { s.look(); s.fakeWorld.askWorkers(sig) }
func (s stepRecorder) askLeftovers(sig syscall.Signal) { s.look(); s.fakeWorld.askLeftovers(sig) }
func (s stepRecorder) setTimer(d time.Duration)        { s.look(); s.fakeWorld.setTimer(d) }
func (s stepRecorder) drain()                          { s.look(); s.fakeWorld.drain() }

// What an event does besides changing the state.
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
		{"the user's signal is the workers'", situation{live: 1}, running, func(l *lifecycle) {
			l.stopRequested(unix.SIGINT)
		}, "halt | ask SIGINT | timer 30s | announce"},
		{"leftovers get the same signal", situation{live: 1, left: 1}, running,
			func(l *lifecycle) { l.stopRequested(unix.SIGQUIT); l.workerExited(ended{}) },
			"halt | ask SIGQUIT | timer 30s | announce | ask leftovers SIGQUIT"},
		{"leftovers of a good end have the grace period", situation{live: 1, left: 1}, running,
			func(l *lifecycle) { l.workerExited(ended{}) }, "timer 30s | ask leftovers SIGTERM"},
		{"members of the control group are killed at the end", situation{live: 1}, running,
			func(l *lifecycle) { l.workerExited(ended{}) }, "kill members | drain"},
		{"but not what may be left", situation{live: 1, leave: true}, running,
			func(l *lifecycle) { l.workerExited(ended{}) }, "drain"},
		{"a template that hangs is given up", situation{spawning: true}, stopping,
			(*lifecycle).timeExpired, "abandon | timer 5s | kill"},
		{"what would not die is recorded", situation{live: 1}, killing, (*lifecycle).timeExpired,
			"give up | kill members | drain"},
		{"the user does not wait for output for long", situation{live: 1}, running,
			func(l *lifecycle) { l.stopRequested(unix.SIGTERM); l.workerExited(ended{}) },
			"halt | ask SIGTERM | timer 30s | announce | kill members | drain | timer 2s"},
		{"who asks during the output has a second", situation{}, draining,
			func(l *lifecycle) { l.stopRequested(unix.SIGTERM) }, "timer 1s"},
		{"in a hurry, a moment is left", situation{live: 1}, stopping, (*lifecycle).hurryRequested,
			"timer 100ms"},
		{"a suspension halts the start", situation{live: 1, spawning: true}, starting,
			(*lifecycle).suspendRequested, "pause | signal SIGSTOP"},
		{"and SIGCONT resumes it", situation{live: 1, spawning: true}, starting,
			func(l *lifecycle) { l.suspendRequested(); l.signalRequested(unix.SIGCONT) },
			"pause | signal SIGSTOP | resume | signal SIGCONT"},
		{"SIGCONT alone is passed on", situation{live: 1}, running,
			func(l *lifecycle) { l.signalRequested(unix.SIGCONT) }, "signal SIGCONT"},
		{"SIGKILL goes on as long as something forks", situation{left: 3}, killing,
			(*lifecycle).killAgain, "kill"},
	} {
		l, w := c.in.in(c.at)
		c.act(l)
		if got := strings.Join(w.did, " | "); got != c.want {
			t.Errorf("%s:\n got %s\nwant %s", c.what, got, c.want)
		}
	}
}

// A grace period that is shorter than the moment of a hurry stays what it is.
func TestHurryDoesNotProlong(t *testing.T) {
	l, w := situation{live: 1}.in(stopping)
	l.policy.grace = time.Millisecond
	l.hurryRequested()
	if w.timer != time.Millisecond {
		t.Errorf("%s are left", w.timer)
	}
}

// What cannot happen is said with the state and the event, and ends the job in order.
func TestImpossibleEventsStopTheJob(t *testing.T) {
	l, w := situation{live: 1}.in(running)
	l.drained()
	if l.state != stopping || l.err == nil || startCode(l.err) != 125 {
		t.Errorf("%s, %v", l.state, l.err)
	}
	if len(w.said) != 1 || !strings.Contains(w.said[0],
		"the end of the output cannot happen to a job that is running") {
		t.Errorf("said %q", w.said)
	}
	// A change of state that is not drawn is one of those, too.
	l, _ = situation{live: 1}.in(running)
	l.enter(over)
	if l.state != stopping || l.err == nil {
		t.Errorf("%s, %v", l.state, l.err)
	}
}
