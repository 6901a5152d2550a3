package launcher

import (
	"fmt"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/gpulaunch/gpulaunch/launcher/plural"
)

// Limits for what the user has no setting for.
const (
	// killLimit is how long processes have to die after the first SIGKILL. Those that are still
	// there then are given up.
	killLimit = 5 * time.Second
	// hurriedGrace is what is left of the grace period after a request with Hurry.
	hurriedGrace = 100 * time.Millisecond
	// drainLimit is how long a pipe may be silent once no process of the job is left. It is also
	// about how long output is still passed on after the user has asked for the end.
	drainLimit = time.Second
)

// stopSignal is the signal that asks workers to end, unless the user has sent another one.
const stopSignal = unix.SIGTERM

// lifecycle is the state machine of an attempt: it decides what each event leads to. It has no
// effects of its own; its field effects has them.
type lifecycle struct {
	effects effects
	policy  policy

	state     state
	live      int            // workers that have been started and not yet waited for
	spawning  bool           // more workers may still be started
	suspended bool           // nothing is started and nothing runs until SIGCONT
	userAsked bool           // the user has asked for the end
	signal    syscall.Signal // the signal that asks workers to end
	err       error          // why the launcher could not do its work
}

// policy holds the user's settings for the end of an attempt.
type policy struct {
	grace       time.Duration
	failureWait time.Duration
	sweeps      bool // descendants of workers are waited for and ended
	leaveBehind bool // but not after a job that ended well
}

// effects are what a lifecycle does to processes, timers and the terminal. An Attempt implements
// them; the test of the lifecycle has an implementation that only records calls.
type effects interface {
	// pauseStarting, resumeStarting and haltStarting control the starting of further workers.
	pauseStarting()
	resumeStarting()
	haltStarting()
	// abandonTemplate ends a template that does not answer.
	abandonTemplate()

	// signalWorkers sends a signal to the process group of each worker that is alive.
	signalWorkers(syscall.Signal)
	// suspendWorker stops a worker that was started late until SIGCONT.
	suspendWorker(*worker)
	// askWorkers sends them the signal that asks them to end. askWorker does so for a worker that
	// was started late, and killWorker kills one.
	askWorkers(syscall.Signal)
	askWorker(*worker, syscall.Signal)
	killWorker(*worker)

	// leftovers returns how many descendants the workers have left, including those that have ended
	// and not been reaped.
	leftovers() int
	// askLeftovers sends the ending signal to the descendants that have not received it yet, once
	// all workers have ended. askOrphans does so earlier, for those that workers that have ended
	// have left behind.
	askLeftovers(syscall.Signal)
	askOrphans(syscall.Signal)
	// killAll sends SIGKILL to everything that is left, including workers. It returns how many
	// descendants are left, as leftovers does.
	killAll() int
	// giveUp records everything that is left as unkillable.
	giveUp()
	// killMembers kills the members of the attempt's control group.
	killMembers()

	// setTimer schedules one event timeExpired after the duration, in place of an earlier one.
	// stopTimer cancels it.
	setTimer(time.Duration)
	stopTimer()
	// drain begins to wait for the workers' last output. The event drained follows when all of it
	// has been passed on.
	drain()

	// stopAnnounced tells observers that the workers have been asked to end with a signal.
	stopAnnounced(syscall.Signal)
	log(line string)
	debug(line string)
}

// endedWorker is what a lifecycle needs to know of a worker that has ended.
type endedWorker interface {
	// failed reports whether the worker did not end well.
	failed() bool
	// outcome returns how the worker ended, as in "rank 1 (pid 4711) exited with code 3".
	outcome() string
}

// begin initialises the lifecycle of an attempt whose workers are being started.
func (l *lifecycle) begin(e effects, p policy) {
	l.effects, l.policy, l.spawning, l.signal = e, p, true, stopSignal
}

// spawned is the event that a worker has been started.
func (l *lifecycle) spawned(w *worker) {
	l.live++
	switch l.state {
	case starting:
		if l.suspended { // it was being started when the others were suspended
			l.effects.suspendWorker(w)
		}
	case stopping: // it was being started when the others were asked
		l.effects.askWorker(w, l.signal)
	case killing, draining:
		l.effects.killWorker(w)
	default:
		l.impossible("a worker that starts")
	}
}

// spawnFailed is the event that a worker could not be started, and that no further one will be. If
// the job is being stopped already, that may be the cause, so it is not an error then.
func (l *lifecycle) spawnFailed(err error) {
	switch l.state {
	case starting:
		l.err = err
		l.beginStop(stopSignal)
	case stopping, killing, draining:
	default:
		l.impossible("a worker that cannot be started")
	}
}

// spawningEnded is the event that no further worker will be started.
func (l *lifecycle) spawningEnded() {
	l.spawning = false
	switch l.state {
	case starting:
		l.enter(running)
		l.checkGone()
	case stopping, killing:
		l.checkGone()
	case draining:
	default:
		l.impossible("the end of starting")
	}
}

// workerExited is the event that a worker has ended and has been waited for.
func (l *lifecycle) workerExited(w endedWorker) {
	l.live--
	switch l.state {
	case starting, running:
		if w.failed() {
			l.workerFailed(w)
		}
		l.checkGone()
	case stopping:
		if l.checkGone(); l.state == stopping {
			l.askOrphans()
		}
	case leaving, killing:
		l.checkGone()
	case draining: // a worker that was given up as unkillable has died
	default:
		l.impossible("the end of a worker")
	}
}

// workerFailed handles the first worker that did not end well. It asks the other workers to end,
// either now or after they have had time to leave by themselves.
func (l *lifecycle) workerFailed(w endedWorker) {
	others := plural.Of(l.live, "the other worker", "the other %d workers")
	switch {
	case l.live == 0:
		l.beginStop(stopSignal)
	// In starting, the others would wait for ranks that are never started.
	case l.policy.failureWait > 0 && l.state == running:
		l.enter(leaving)
		l.effects.setTimer(l.policy.failureWait)
		l.effects.log(fmt.Sprintf("%s: up to %s for %s to leave unasked, then SIGTERM", w.outcome(),
			l.policy.failureWait, others))
	default:
		l.effects.log(fmt.Sprintf("%s: stopping %s (SIGTERM, then SIGKILL after %s)", w.outcome(),
			others, l.policy.grace))
		l.beginStop(stopSignal)
	}
}

// templateDied is the event that the process from which workers are forked is gone. Without it the
// job can neither be restarted nor be sure that all its workers are alike.
func (l *lifecycle) templateDied(err error) {
	switch l.state {
	case starting, running, leaving:
		l.err = err
		l.effects.log(fmt.Sprintf("%s: stopping %s", err,
			plural.Of(l.live, "%d worker", "%d workers")))
		l.beginStop(stopSignal)
	default:
	}
}

// stopRequested is the event that the user has asked for the end.
func (l *lifecycle) stopRequested(sig syscall.Signal) {
	l.userAsked = true
	switch l.state {
	case starting, running, leaving:
		l.beginStop(sig)
	case draining:
		l.effects.setTimer(drainLimit)
	default: // the job is ending already
	}
}

// hurryRequested is the event that the keeper is gone. Nothing would end the job if this process
// were killed as well, so little of the grace period is left.
func (l *lifecycle) hurryRequested() {
	switch l.state {
	case stopping, lingering:
		l.effects.setTimer(min(l.policy.grace, hurriedGrace))
	default:
	}
}

// killRequested is the event that the user does not want to wait for the grace period.
func (l *lifecycle) killRequested() {
	l.stopRequested(stopSignal)
	switch l.state {
	case stopping, lingering:
		l.beginKill()
	default:
	}
}

// suspendRequested is the event that everything is to stop until SIGCONT.
func (l *lifecycle) suspendRequested() {
	l.suspended = true
	l.effects.pauseStarting()
	l.effects.signalWorkers(unix.SIGSTOP)
}

// signalRequested is the event that a signal is to be sent to the workers.
func (l *lifecycle) signalRequested(sig syscall.Signal) {
	if sig == unix.SIGCONT && l.suspended {
		l.suspended = false
		l.effects.resumeStarting()
	}
	l.effects.signalWorkers(sig)
}

// timeExpired is the event that the time limit of the current state has passed.
func (l *lifecycle) timeExpired() {
	switch l.state {
	case leaving:
		l.effects.log(fmt.Sprintf("stopping %s (SIGTERM, then SIGKILL after %s)",
			plural.Of(l.live, "the other worker", "the other %d workers"), l.policy.grace))
		l.beginStop(stopSignal)
	case stopping, lingering:
		l.beginKill()
	case killing:
		l.effects.giveUp()
		l.beginDrain()
	case draining:
		l.enter(over)
	default:
		l.impossible("the end of a time")
	}
}

// childEnded is the event that SIGCHLD has arrived, or that a child of the launcher has been waited
// for. Orphans that have ended have been reaped by then.
func (l *lifecycle) childEnded() {
	switch l.state {
	case lingering, killing:
		l.checkGone()
	default:
	}
}

// killAgain is the event that another round of SIGKILL is due. A process may have forked before
// SIGKILL reached it, and its child is a child of this process by now.
func (l *lifecycle) killAgain() {
	switch l.state {
	case killing:
		if l.effects.killAll() == 0 && l.gone() {
			l.beginDrain()
		}
	default:
		l.impossible("another round of SIGKILL")
	}
}

// drained is the event that all output has been passed on.
func (l *lifecycle) drained() {
	if l.state != draining {
		l.impossible("the end of the output")
		return
	}
	l.enter(over)
}

// beginStop asks the workers to end and begins the grace period.
func (l *lifecycle) beginStop(sig syscall.Signal) {
	l.enter(stopping)
	l.suspended, l.signal = false, sig
	l.effects.haltStarting()
	l.effects.askWorkers(sig)
	l.askOrphans()
	l.effects.setTimer(l.policy.grace)
	l.effects.stopAnnounced(sig)
}

// askOrphans asks what ended workers have left behind to end. The other workers may use up the grace
// period, and there would be none left for it.
func (l *lifecycle) askOrphans() {
	if l.policy.sweeps {
		l.effects.askOrphans(l.signal)
	}
}

// beginKill ends the grace period and begins to kill what is left.
func (l *lifecycle) beginKill() {
	l.enter(killing)
	if l.spawning {
		l.effects.abandonTemplate()
	}
	l.effects.setTimer(killLimit)
	l.killAgain()
}

// gone reports whether no worker is left and none will be started.
func (l *lifecycle) gone() bool { return l.live == 0 && !l.spawning }

// checkGone moves on if no worker is left: to lingering if descendants of workers are, and to
// draining otherwise.
func (l *lifecycle) checkGone() {
	if !l.gone() {
		return
	}
	left := 0
	switch {
	case l.state == killing:
		left = l.effects.killAll()
	case l.policy.sweeps && !(l.policy.leaveBehind && l.state < leaving):
		left = l.effects.leftovers()
	}
	switch {
	case left == 0:
		l.beginDrain()
	case l.state < lingering:
		if l.state != stopping { // in stopping, the grace period runs already
			l.effects.setTimer(l.policy.grace)
		}
		l.enter(lingering)
		l.effects.askLeftovers(l.signal)
		l.childEnded() // the last may have ended before leftovers counted it
	}
}

// beginDrain begins to wait for the workers' last output. If a process outside of the job still
// holds a pipe, to which a descriptor can have been passed, the pipe is given up once it is silent.
// A slow reader of the launcher's output is waited for, unless the user has asked for the end.
func (l *lifecycle) beginDrain() {
	if !l.policy.leaveBehind || l.state >= leaving {
		// A member of the control group need not be a descendant: a process that was started in
		// another PID namespace (nsenter(1)) and then loses its parent goes to the init process of
		// that namespace.
		l.effects.killMembers()
	}
	l.enter(draining)
	l.effects.stopTimer()
	l.effects.drain()
	if l.userAsked {
		l.effects.setTimer(2 * drainLimit)
	}
}
