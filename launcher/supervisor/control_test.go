package supervisor

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"

	"golang.org/x/sys/unix"
)

// recorder is a Phase that records its calls.
type recorder struct{ calls []string }

func (r *recorder) record(format string, args ...any) {
	r.calls = append(r.calls, fmt.Sprintf(format, args...))
}

func (r *recorder) Stop(q Request)          { r.record("stop %s", unix.SignalName(q.Signal)) }
func (r *recorder) Hurry(Request)           { r.record("hurry") }
func (r *recorder) Kill(Request)            { r.record("kill") }
func (r *recorder) Suspend(done func())     { r.record("suspend"); done() }
func (r *recorder) Pass(sig syscall.Signal) { r.record("pass %s", unix.SignalName(sig)) }

func newControl() *control {
	c := &control{}
	c.init()
	return c
}

var (
	term, intr = Request{Signal: unix.SIGTERM}, Request{Signal: unix.SIGINT}
	again      = Request{Signal: unix.SIGTERM, Kill: true}
	quit       = Request{Signal: unix.SIGTERM, Quit: true}
	suspend    = Request{Signal: unix.SIGTSTP}
	resume     = Request{Signal: unix.SIGCONT}
	direct     = Request{Signal: unix.SIGINT, Direct: true}
)

// TestRequests checks which methods of a phase requests call, and which state follows.
func TestRequests(t *testing.T) {
	for _, c := range []struct {
		requests []Request
		calls    string
		state    state
		code     int // of the first request for the end
	}{
		{nil, "", running, 0},
		{[]Request{term}, "stop SIGTERM", stopping, 143},
		{[]Request{intr, term, term}, "stop SIGINT", stopping, 130},
		// A terminal sends SIGINT to both processes.
		{[]Request{direct, intr}, "stop SIGINT", stopping, 130},
		{[]Request{intr, direct}, "stop SIGINT", stopping, 130},
		{[]Request{term, again}, "stop SIGTERM, kill", killing, 143},
		{[]Request{again}, "kill", killing, 143},
		{[]Request{intr, again, again}, "stop SIGINT, kill, kill", killing, 130},
		{[]Request{term, again, quit}, "stop SIGTERM, kill", quitting, 143},
		{[]Request{quit, quit}, "", quitting, 143},
		{[]Request{quit, term, again}, "kill", quitting, 143},
		{[]Request{keeperLost}, "stop SIGTERM, hurry", stopping, 143},
		{[]Request{intr, keeperLost}, "stop SIGINT, hurry", stopping, 130},
		{[]Request{suspend, resume}, "suspend, pass SIGCONT", running, 0},
		{[]Request{suspend, term}, "suspend, stop SIGTERM", stopping, 143},
		{[]Request{term, suspend, resume}, "stop SIGTERM, suspend, pass SIGCONT", stopping, 143},
		{[]Request{{Signal: unix.SIGUSR1}, {Signal: unix.SIGWINCH}}, "pass SIGUSR1, pass SIGWINCH",
			running, 0},
		{[]Request{{Signal: unix.SIGTSTP, Direct: true}, {Signal: unix.SIGCONT, Direct: true},
			{Signal: unix.SIGUSR1, Direct: true}}, "", running, 0},
		{[]Request{{Signal: unix.SIGPIPE, Direct: true}}, "stop SIGPIPE", stopping, 141},
		{[]Request{{Signal: unix.SIGPIPE, Code: 125}}, "stop SIGPIPE", stopping, 125},
		{[]Request{{Signal: unix.SIGTERM, Err: errors.New("an XID")}}, "stop SIGTERM", stopping,
			125},
	} {
		control, phase := newControl(), &recorder{}
		if !control.Begin("test", phase) {
			t.Fatal("a phase does not begin")
		}
		acted := 0
		for _, r := range c.requests {
			r.Done = func() { acted++ }
			control.Request(r)
		}
		first, stopped := control.Stopped()
		if got := strings.Join(phase.calls, ", "); got != c.calls || control.state != c.state ||
			stopped != (c.state != running) {
			t.Errorf("%v: calls %q and %s, want %q and %s", c.requests, got, control.state, c.calls,
				c.state)
		}
		if stopped && first.ExitCode() != c.code {
			t.Errorf("%v: code %d, want %d", c.requests, first.ExitCode(), c.code)
		}
		if acted != len(c.requests) {
			t.Errorf("%v: Done was called %d times", c.requests, acted)
		}
		select {
		case <-control.Quitting():
			if c.state != quitting {
				t.Errorf("%v: Quitting is closed", c.requests)
			}
		default:
			if c.state == quitting {
				t.Errorf("%v: Quitting is not closed", c.requests)
			}
		}
		hurried := slices.ContainsFunc(c.requests,
			func(r Request) bool { return r.Kill || r.Quit || r.Hurry })
		if control.Hurried() != hurried {
			t.Errorf("%v: hurried %v", c.requests, !hurried)
		}
	}
}

// TestRequestsBetweenPhases checks that a request for the end that comes between two phases is
// remembered, so that the next phase does not begin.
func TestRequestsBetweenPhases(t *testing.T) {
	c, phase := newControl(), &recorder{}
	c.Begin("first", phase)
	c.End()
	c.Request(Request{Signal: unix.SIGUSR1})
	c.Request(intr)
	if c.Begin("second", phase) || len(phase.calls) > 0 {
		t.Errorf("a phase begins after a request for the end; calls %q", phase.calls)
	}
	if first, stopped := c.Stopped(); !stopped || first.Signal != unix.SIGINT {
		t.Errorf("%v %v", first, stopped)
	}
}

// TestNothingBeginsWhileSuspended checks that no phase begins while the job is suspended, and that
// SIGCONT or a request for the end ends the wait.
func TestNothingBeginsWhileSuspended(t *testing.T) {
	for name, c := range map[string]struct {
		request Request
		begins  bool
	}{"resumed": {resume, true}, "stopped": {term, false}, "killed": {again, false},
		"quit": {quit, false}} {
		synctest.Test(t, func(t *testing.T) {
			control, acted := newControl(), false
			control.Request(Request{Signal: unix.SIGTSTP, Done: func() { acted = true }})
			if !acted {
				t.Errorf("%s: the Done of a suspension between phases was not called", name)
			}
			begun := make(chan bool, 1)
			go func() { begun <- control.Begin("test", NoPhase{}) }()
			synctest.Wait()
			select {
			case <-begun:
				t.Errorf("%s: Begin does not wait", name)
			default:
			}
			control.Request(c.request)
			if got := <-begun; got != c.begins {
				t.Errorf("%s: Begin reports %v", name, got)
			}
		})
	}
}

// TestSuspensionIsAsynchronous checks that only the sender of a suspension waits until the phase's
// processes have stopped.
func TestSuspensionIsAsynchronous(t *testing.T) {
	c, phase := newControl(), &slowPhase{}
	c.Begin("test", phase)
	acted := false
	c.Request(Request{Signal: unix.SIGTSTP, Done: func() { acted = true }})
	if acted {
		t.Error("Done was called before the processes were stopped")
	}
	c.Request(resume) // does not block
	phase.done()
	if !acted {
		t.Error("Done was never called")
	}
}

// slowPhase is a Phase that takes long to stop its processes.
type slowPhase struct {
	NoPhase
	done func()
}

func (s *slowPhase) Suspend(done func()) { s.done = done }

func TestDebugReportsRequestsAndChanges(t *testing.T) {
	c := newControl()
	var lines []string
	c.Debug(func(line string) { lines = append(lines, line) })
	c.Begin("attempt", NoPhase{})
	c.Request(Request{Signal: unix.SIGTERM, Direct: true, Kill: true})
	want := []string{"phase attempt", "request: SIGTERM, sent directly, to kill",
		"control running → stopping", "control stopping → killing"}
	if !slices.Equal(lines, want) {
		t.Errorf("%q", lines)
	}
}
