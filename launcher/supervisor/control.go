package supervisor

import (
	"fmt"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// state is how far the end of the job has been asked for.
type state int

const (
	// running: nobody has asked for the end.
	running state = iota
	// stopping: the end was asked for once.
	stopping
	// killing: it was asked for again; the grace period is over.
	killing
	// left: it was asked for a third time; nothing is waited for any more.
	left
)

func (s state) String() string { return [...]string{"running", "stopping", "killing", "left"}[s] }

// Phase is a part of a job that can be controlled while it lasts. Its methods are called
// one at a time and must not block.
type Phase interface {
	// Stop asks for an orderly end; it is called once at most.
	Stop(Request)
	// Hurry says that no more than a moment is left for it.
	Hurry(Request)
	// Kill asks for the end at once.
	Kill(Request)
	// Suspend stops the phase's processes and calls done when that has happened.
	Suspend(done func())
	// Pass passes a signal on to the phase's processes. SIGCONT ends a suspension.
	Pass(syscall.Signal)
}

// NoPhase is a Phase in which there is nothing to act on. Embedded, it leaves only what
// matters to be written.
type NoPhase struct{}

// Stop does nothing.
func (NoPhase) Stop(Request) {}

// Hurry does nothing.
func (NoPhase) Hurry(Request) {}

// Kill does nothing.
func (NoPhase) Kill(Request) {}

// Suspend has nothing to suspend.
func (NoPhase) Suspend(done func()) { done() }

// Pass does nothing.
func (NoPhase) Pass(syscall.Signal) {}

// control decides what requests amount to.
type control struct {
	debug      func(line string)
	left       chan struct{} // closed in the state left
	subscribed func()        // waits until signals are subscribed to

	mu        sync.Mutex
	changed   *sync.Cond
	state     state
	suspended bool
	first     Request // that asked for the end
	hurried   bool    // somebody did not wait for the grace period
	name      string  // of the phase
	phase     Phase   // nil between phases
}

func (c *control) init() {
	c.left = make(chan struct{})
	c.changed = sync.NewCond(&c.mu)
	c.debug = func(string) {}
	c.subscribed = func() {}
}

// Debug has each request and each change of state reported, one line each. It must be
// called before the first phase.
func (c *control) Debug(report func(line string)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.debug = report
}

// Begin makes p the phase that requests go to. It waits while the job is suspended, and
// reports false, without having begun the phase, once the job is to end. Nothing may be
// started or written before the first phase has begun, because a signal, and SIGPIPE with
// them, may end this process until then.
func (c *control) Begin(name string, p Phase) bool {
	c.subscribed()
	c.mu.Lock()
	defer c.mu.Unlock()
	for c.suspended && c.state == running {
		c.changed.Wait()
	}
	if c.state != running {
		return false
	}
	c.name, c.phase = name, p
	c.debug("phase " + name)
	return true
}

// End ends the phase: no method of it is called any more.
func (c *control) End() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.name, c.phase = "", nil
}

// Stopped gives the first request for the end, if there was one.
func (c *control) Stopped() (first Request, stopped bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.first, c.state != running
}

// Hurried reports whether somebody did not wait for the grace period.
func (c *control) Hurried() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.hurried
}

// Left is closed when nothing is to be waited for any more.
func (c *control) Left() <-chan struct{} { return c.left }

// Request acts on a request. It may be called from any goroutine.
func (c *control) Request(r Request) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.debug("request: " + r.String())
	switch {
	case r.Leave:
		c.leaveRequested(r)
	case r.Kill:
		c.killRequested(r)
	case r.Stops():
		c.stopRequested(r)
	case r.Direct: // the keeper's word counts
	case r.Signal == unix.SIGTSTP:
		c.suspendRequested(r)
		return
	case r.Signal == unix.SIGCONT:
		c.resumeRequested()
	case c.phase != nil:
		c.phase.Pass(r.Signal)
	}
	r.done()
}

// String is the request for the debug output.
func (r Request) String() string {
	text := r.Why()
	for _, word := range []struct {
		is   bool
		text string
	}{{r.Direct, ", sent directly"}, {r.Hurry, ", in a hurry"}, {r.Kill, ", to kill"},
		{r.Leave, ", to leave"}} {
		if word.is {
			text += word.text
		}
	}
	return text
}

// stopRequested: somebody wants the end.
func (c *control) stopRequested(r Request) {
	c.hurried = c.hurried || r.Hurry
	begun := c.stop(r)
	if c.phase == nil {
		return
	}
	if begun {
		c.phase.Stop(r)
	}
	if r.Hurry {
		c.phase.Hurry(r)
	}
}

// killRequested: somebody does not wait for the grace period.
func (c *control) killRequested(r Request) {
	c.hurried = true
	c.stop(r)
	if c.state == stopping {
		c.enter(killing)
	}
	if c.phase != nil {
		c.phase.Kill(r)
	}
}

// leaveRequested: nothing is to be waited for.
func (c *control) leaveRequested(r Request) {
	c.hurried = true
	c.stop(r)
	if c.state != left {
		c.enter(left)
		close(c.left)
	}
}

// stop records the first request for the end, and reports whether this is it.
func (c *control) stop(r Request) (first bool) {
	c.suspended = false
	if c.state != running {
		return false
	}
	c.first = r
	c.enter(stopping)
	return true
}

// suspendRequested: the job is to be stopped until SIGCONT.
func (c *control) suspendRequested(r Request) {
	c.suspended = true
	if c.phase == nil {
		r.done()
		return
	}
	c.phase.Suspend(r.done)
}

// resumeRequested: the job is to go on.
func (c *control) resumeRequested() {
	c.suspended = false
	c.changed.Broadcast()
	if c.phase != nil {
		c.phase.Pass(unix.SIGCONT)
	}
}

// enter changes the state.
func (c *control) enter(s state) {
	c.debug(fmt.Sprintf("control %s → %s", c.state, s))
	c.state = s
	c.changed.Broadcast()
}
