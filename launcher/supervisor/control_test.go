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
	quit       = Request{Signal: unix.SIGTERM, Leave: true}
	suspend    = Request{Signal: unix.SIGTSTP}
	resume     = Request{Signal: unix.SIGCONT}
	direct     = Request{Signal: unix.SIGINT, Direct: true}
)

// What is called of a phase, and where control stands afterwards.
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
		// a terminal signals both processes
		{[]Request{direct, intr}, "stop SIGINT", stopping, 130},
		{[]Request{intr, direct}, "stop SIGINT", stopping, 130},
		{[]Request{term, again}, "stop SIGTERM, kill", killing, 143},
		{[]Request{again}, "kill", killing, 143},
		{[]Request{intr, again, again}, "stop SIGINT, kill, kill", killing, 130},
		{[]Request{term, again, quit}, "stop SIGTERM, kill", left, 143},
		{[]Request{quit, quit}, "", left, 143},
		{[]Request{quit, term, again}, "kill", left, 143},
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
			t.Errorf("%v: %d were acted on", c.requests, acted)
		}
		select {
		case <-control.Left():
			if c.state != left {
				t.Errorf("%v: left", c.requests)
			}
		default:
			if c.state == left {
				t.Errorf("%v: not left", c.requests)
			}
		}
		hurried := slices.ContainsFunc(c.requests,
			func(r Request) bool { return r.Kill || r.Leave || r.Hurry })
		if control.Hurried() != hurried {
			t.Errorf("%v: hurried %v", c.requests, !hurried)
		}
	}
}

// Between phases a request is remembered: what begins after it does not.
func TestRequestsBetweenPhases(t *testing.T) {
	c, phase := newControl(), &recorder{}
	c.Begin("first", phase)
	c.End()
	c.Request(Request{Signal: unix.SIGUSR1})
	c.Request(intr)
	if c.Begin("second", phase) || len(phase.calls) > 0 {
		t.Errorf("it begins, and is called: %q", phase.calls)
	}
	if first, stopped := c.Stopped(); !stopped || first.Signal != unix.SIGINT {
		t.Errorf("%v %v", first, stopped)
	}
}

// No phase begins while the job is suspended; SIGCONT or the end of the job ends that.
func TestNothingBeginsWhileSuspended(t *testing.T) {
	for name, c := range map[string]struct {
		request Request
		begins  bool
	}{"resumed": {resume, true}, "stopped": {term, false}, "killed": {again, false},
		"left": {quit, false}} {
		synctest.Test(t, func(t *testing.T) {
			control, acted := newControl(), false
			control.Request(Request{Signal: unix.SIGTSTP, Done: func() { acted = true }})
			if !acted {
				t.Errorf("%s: a suspension between phases is not acted on", name)
			}
			begun := make(chan bool, 1)
			go func() { begun <- control.Begin("test", NoPhase{}) }()
			synctest.Wait()
			select {
			case <-begun:
				t.Errorf("%s: it does not wait", name)
			default:
			}
			control.Request(c.request)
			if got := <-begun; got != c.begins {
				t.Errorf("%s: begins %v", name, got)
			}
		})
	}
}

// A phase that has not stopped its processes yet is waited for by whoever asked, and by
// nobody else.
func TestSuspensionIsAsynchronous(t *testing.T) {
	c, phase := newControl(), &slow{}
	c.Begin("test", phase)
	acted := false
	c.Request(Request{Signal: unix.SIGTSTP, Done: func() { acted = true }})
	if acted {
		t.Error("it was acted on before the phase says so")
	}
	c.Request(resume) // is not held up
	phase.done()
	if !acted {
		t.Error("it was never acted on")
	}
}

type slow struct {
	NoPhase
	done func()
}

func (s *slow) Suspend(done func()) { s.done = done }

func TestDebugTellsRequestsAndChanges(t *testing.T) {
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
