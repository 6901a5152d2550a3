package launcher

import (
	"fmt"
	"slices"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/gpulaunch/gpulaunch/launcher/internal/link"
	"github.com/gpulaunch/gpulaunch/launcher/internal/text"
	"github.com/gpulaunch/gpulaunch/launcher/plan"
)

// Control is a wish that reaches a running job from outside. The first one that
// asks for the end stops the job gently; asking again changes nothing.
type Control struct {
	// Signal stops the job (TERM, INT, HUP, QUIT), suspends it (TSTP), or is passed
	// on to the workers.
	Signal syscall.Signal
	// Direct says that the signal was sent to the supervisor itself rather than to
	// its keeper. Only a stopping one counts then: a signal to the process group
	// reaches both, and must not reach the workers twice.
	Direct bool
	// Hurry shortens the grace period: if this process is killed as well, there is
	// nobody left to end what the workers have started.
	Hurry bool
	// Kill asks for the end of the grace period, Quit for that of all waiting.
	Kill, Quit bool
	// Reason replaces the signal's name in what is printed.
	Reason string
	// Code replaces 128 plus the signal as the job's exit code, if not 0.
	Code int
	// Err makes the end a failure of the launcher rather than the user's wish: it
	// becomes Result.Err, with Code or 125.
	Err error
	// Done, if set, is called when the wish has been acted on.
	Done func()
}

// exitCode is the job's when it ends for the wish.
func (c Control) exitCode() int {
	if c.Code != 0 {
		return c.Code
	}
	if c.Err != nil {
		return 125
	}
	return 128 + int(c.Signal)
}

// Stops reports whether the wish is the job's end.
func (c Control) Stops() bool {
	return c.Kill || c.Quit || link.Stops(c.Signal) || c.Signal == unix.SIGPIPE
}

// Run runs a plan to its end, restarts included. It blocks until all workers
// are gone, or until control has asked for the end a third time.
func Run(p plan.Plan, cfg Config, control <-chan Control) Result {
	s, err := newStage(&p, &cfg)
	if err != nil {
		now := time.Now()
		return Result{Err: err, ExitCode: 125, Started: now, Ended: now}
	}
	defer s.close()
	j := &job{plan: p, stage: s, control: control}
	told := j.plan // a restart changes the port of the job's own
	cfg.tell(0, Event{Kind: JobStarted, Plan: &told})
	r := j.run()
	r.Started, r.Ended, r.Host = s.started, time.Now(), s.host
	if r.ExitCode == 0 && cfg.LeaveBehind {
		cfg.Keeper.tell(link.Leave, "")
	}
	cfg.tell(j.attempt, Event{Kind: JobEnded})
	return r
}

type job struct {
	plan plan.Plan
	*stage
	control <-chan Control
	attempt int
	earlier []WorkerResult // root causes of the attempts before

	stopped   syscall.Signal // what the job was first stopped with
	code      int            // the exit code for that
	why       error          // set if it was not the user's wish
	left      bool           // nothing more is to be waited for
	hurried   bool           // the user has not waited for the grace period
	suspended bool           // by SIGTSTP, until SIGCONT
}

// run is the job from its template, if it has one, to its last attempt.
func (j *job) run() (r Result) {
	err := j.startTemplate(&j.plan)
	if err == nil && j.template != nil {
		err = j.attendTemplate()
	}
	switch {
	case err != nil:
		return Result{Err: err, ExitCode: startCode(err)}
	case j.stopped != 0:
		j.settle(&r)
		return r
	}
	r = j.attempts()
	r.Earlier, r.Hurried = j.earlier, j.hurried
	if j.template != nil && j.template.Err() == nil {
		r.Template = templateOf(j.template)
	}
	return r
}

// attendTemplate waits for the imports, unless the user wants to stop before
// they are done.
func (j *job) attendTemplate() error {
	ready := j.template.Ready()
	for {
		if j.stopped != 0 {
			return nil
		}
		waiting := ready
		if j.suspended {
			waiting = nil
		}
		select {
		case <-waiting:
			return j.templateReady()
		case c := <-j.control:
			if c.Signal == unix.SIGTSTP && !c.Direct {
				j.suspended = true
				j.signalTemplate(unix.SIGSTOP)
			}
			j.resumed(c)
			if !j.suspended {
				j.signalTemplate(unix.SIGCONT)
			}
			if j.stopped != 0 {
				j.cfg.Log(c.reason() + ": no worker was started")
			}
		}
	}
}

// signalTemplate signals the template's process group. A template that has gone has
// been waited for, so this is for one that is importing.
func (j *job) signalTemplate(sig syscall.Signal) {
	select {
	case <-j.template.Dead():
	default:
		_ = unix.Kill(-j.template.Facts().PID, sig) // gone this very moment
	}
}

// attempts starts the whole group until it succeeds, may not be started again
// or is to end.
func (j *job) attempts() Result {
	for {
		r := j.once()
		if j.left || !j.again(r) {
			return r
		}
	}
}

// once makes one attempt.
func (j *job) once() Result {
	cg, remove := j.makeCgroup(&j.plan)
	defer remove()
	g := startGroup(&j.plan, j.stage, j.attempt, cg, nil)
	j.attend(g)
	if j.left {
		r := Result{Restarts: j.attempt}
		j.settle(&r)
		return r
	}
	r := g.Result()
	r.Restarts = j.attempt
	if r.Root == nil && r.Err == nil && j.stopped != 0 {
		j.settle(&r)
	}
	return r
}

// settle enters why the job was stopped.
func (j *job) settle(r *Result) {
	r.Signal, r.ExitCode, r.Err = j.stopped, j.code, j.why
	if j.why != nil {
		r.Signal = 0
	}
}

// again prepares the next attempt if there may be one.
func (j *job) again(r Result) bool {
	if r.Root == nil || j.attempt >= j.plan.MaxRestarts || len(r.Unkillable) > 0 {
		return false
	}
	for j.suspended { // nothing is started that the terminal's owner has stopped
		j.resumed(<-j.control)
	}
	if j.stopped != 0 {
		return false
	}
	if err := j.replan(); err != nil {
		j.cfg.Log(fmt.Sprintf("not restarting: %v", err))
		return false
	}
	if j.plan.FreePort {
		// The old one may linger in TIME_WAIT or still be dialled by a straggler.
		port, err := FreePort()
		if err != nil {
			j.cfg.Log(err.Error())
			return false
		}
		j.plan.MasterPort = port
	}
	j.earlier = append(j.earlier, *r.Root)
	j.attempt++
	j.cfg.Log(fmt.Sprintf("%s; restarting all workers (%d of %d restarts)", r.Root, j.attempt, j.plan.MaxRestarts))
	told := j.plan
	j.cfg.tell(j.attempt, Event{Kind: JobRestarting, Text: r.Root.String(), Plan: &told})
	return true
}

// replan takes up what has changed on the machine. Without a plan that fits it there
// is no restart: the one before may use CPUs that are forbidden now.
func (j *job) replan() error {
	if j.cfg.Replan == nil {
		return nil
	}
	p, err := j.cfg.Replan(j.plan)
	if err == nil && len(p.Workers) != len(j.plan.Workers) {
		err = fmt.Errorf("there would be %d workers instead of %d", len(p.Workers), len(j.plan.Workers))
	}
	if err != nil {
		return err
	}
	for _, w := range p.Warnings {
		if !slices.Contains(j.plan.Warnings, w) {
			j.cfg.Log("warning: " + w)
		}
	}
	p.MasterPort, p.RunID = j.plan.MasterPort, j.plan.RunID
	j.plan = p
	return nil
}

// resumed acts on a wish that comes while no attempt is running.
func (j *job) resumed(c Control) {
	if c.Stops() {
		j.stopped, j.code, j.why, j.suspended = c.Signal, c.exitCode(), c.Err, false
	} else if c.Signal == unix.SIGCONT && !c.Direct {
		j.suspended = false
	}
	if c.Done != nil {
		c.Done()
	}
}

// attend passes what comes from outside on to the attempt until it is over.
func (j *job) attend(g *Group) {
	for {
		select {
		case c := <-j.control:
			j.controlled(g, c)
			if j.left {
				return
			}
		case <-g.Done():
			return
		}
	}
}

func (j *job) controlled(g *Group, c Control) {
	switch {
	case c.Stops():
		j.stop(g, c)
	case c.Direct:
	case c.Signal == unix.SIGTSTP:
		j.suspended = true
		g.Suspend()
	default:
		j.suspended = j.suspended && c.Signal != unix.SIGCONT
		g.Signal(c.Signal)
	}
	if c.Done != nil {
		c.Done()
	}
}

// stop ends the job.
func (j *job) stop(g *Group, c Control) {
	j.suspended = false
	j.hurried = j.hurried || c.Kill || c.Quit || c.Hurry
	first := j.stopped == 0
	if first {
		j.stopped, j.code, j.why = c.Signal, c.exitCode(), c.Err
	}
	switch {
	case c.Quit:
		j.left = true
	case c.Kill:
		j.cfg.Log(c.reason() + ": killing what is left")
		if j.template != nil {
			j.template.Close() // a worker may be waiting to be forked by one that hangs
		}
		g.Kill()
	case first:
		j.announce(c)
		sig := c.Signal
		if sig == unix.SIGPIPE {
			sig = unix.SIGTERM // the pipe was ours, not the workers'
		}
		g.Stop(sig)
	}
	if c.Hurry {
		if !first { // the death signal has come before the link's end
			j.announce(c)
		}
		g.Hurry()
	}
}

// announce says that the job is being stopped, and what can be done about it.
func (j *job) announce(c Control) {
	workers := text.Plural(len(j.plan.Workers), "%d worker", "%d workers")
	if c.Hurry {
		j.cfg.Log(fmt.Sprintf("%s: stopping %s at once", c.reason(), workers))
		return
	}
	j.cfg.Log(fmt.Sprintf("%s: stopping %s, up to %s; once more kills them", c.reason(), workers, j.cfg.Grace))
}

func (c Control) reason() string {
	if c.Reason != "" {
		return c.Reason
	}
	return SignalName(c.Signal)
}
