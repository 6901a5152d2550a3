package supervisor

import (
	"fmt"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// state says how often the end of the job has been requested, and so how urgent it is.
type state int

const (
	// In running, nobody has asked for the end.
	running state = iota
	// In stopping, the end has been requested once.
	stopping
	// In killing, the end has been requested a second time, and the grace period is over.
	killing
	// In quitting, the end has been requested a third time, and the job does not wait for anything
	// any more.
	quitting
)

func (s state) String() string {
	return [...]string{"running", "stopping", "killing", "quitting"}[s]
}

// Phase is a part of a job, which handles requests while it lasts. Its methods are called one at a
// time and must not block.
type Phase interface {
	// Stop asks for an orderly end. It is called at most once.
	Stop(Request)
	// Hurry shortens the grace period to a moment.
	Hurry(Request)
	// Kill asks for the end at once, without a grace period.
	Kill(Request)
	// Suspend stops the phase's processes and calls done when they have been stopped.
	Suspend(done func())
	// Pass passes a signal on to the phase's processes. SIGCONT ends a suspension.
	Pass(syscall.Signal)
}

// NoPhase is a Phase that has nothing to stop or to signal. Other phases embed it and implement
// only the methods that they need.
type NoPhase struct{}

// Stop does nothing.
func (NoPhase) Stop(Request) {}

// Hurry does nothing.
func (NoPhase) Hurry(Request) {}

// Kill does nothing.
func (NoPhase) Kill(Request) {}

// Suspend only calls done.
func (NoPhase) Suspend(done func()) { done() }

// Pass does nothing.
func (NoPhase) Pass(syscall.Signal) {}

// control decides what a request means for the job.
type control struct {
	debug      func(line string)
	quit       chan struct{} // closed when the state becomes quitting
	subscribed func()        // waits until this process has subscribed to its signals

	mu        sync.Mutex
	changed   *sync.Cond
	state     state
	suspended bool
	first     Request // the first request for the end
	hurried   bool    // somebody did not wait for the grace period
	name      string  // of the phase, for debug lines
	phase     Phase   // nil between phases
}

func (c *control) init() {
	c.quit = make(chan struct{})
	c.changed = sync.NewCond(&c.mu)
	c.debug = func(string) {}
	c.subscribed = func() {}
}

// Debug sets the function that receives a line for each request and each change of state. It must
// be called before the first phase begins.
func (c *control) Debug(report func(line string)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.debug = report
}

// Begin makes p the phase that handles requests. It waits while the job is suspended. It reports
// false, and does not begin the phase, once the end of the job has been requested.
//
// Nothing may be started or written before the first phase has begun. Until then this process may
// not have subscribed to its signals, and any of them, including SIGPIPE, may end it.
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

// End ends the phase. None of its methods is called any more.
func (c *control) End() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.name, c.phase = "", nil
}

// Stopped returns the first request for the end, if there was one.
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

// Quitting returns a channel that is closed when the job must not wait for anything any more.
func (c *control) Quitting() <-chan struct{} { return c.quit }

// Request handles a request. It may be called from any goroutine.
func (c *control) Request(r Request) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.debug("request: " + r.String())
	switch {
	case r.Quit:
		c.quitRequested(r)
	case r.Kill:
		c.killRequested(r)
	case r.Stops():
		c.stopRequested(r)
	case r.Direct: // the keeper sends it as well
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

// String describes the request for debug output.
func (r Request) String() string {
	text := r.Why()
	for _, word := range []struct {
		is   bool
		text string
	}{{r.Direct, ", sent directly"}, {r.Hurry, ", in a hurry"}, {r.Kill, ", to kill"},
		{r.Quit, ", to quit"}} {
		if word.is {
			text += word.text
		}
	}
	return text
}

// stopRequested handles a request for the end.
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

// killRequested handles a second request for the end.
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

// quitRequested handles a third request for the end.
func (c *control) quitRequested(r Request) {
	c.hurried = true
	c.stop(r)
	if c.state != quitting {
		c.enter(quitting)
		close(c.quit)
	}
}

// stop records r if it is the first request for the end, and reports whether it is.
func (c *control) stop(r Request) (first bool) {
	c.suspended = false
	if c.state != running {
		return false
	}
	c.first = r
	c.enter(stopping)
	return true
}

// suspendRequested handles a request to stop the job until SIGCONT.
func (c *control) suspendRequested(r Request) {
	c.suspended = true
	if c.phase == nil {
		r.done()
		return
	}
	c.phase.Suspend(r.done)
}

// resumeRequested handles a request to continue a suspended job.
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
