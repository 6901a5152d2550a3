package launcher

import (
	"fmt"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/gpulaunch/gpulaunch/launcher/plural"
)

// Bounds for what nobody can hurry.
const (
	// killLimit is how long SIGKILL is given to take effect.
	killLimit = 5 * time.Second
	// hurriedGrace is what is left of the grace period in a hurry.
	hurriedGrace = 100 * time.Millisecond
	// drainLimit is how long a pipe may be silent when nobody of the job is left, and
	// about how long output is passed on after the user asked for the end.
	drainLimit = time.Second
)

// stopSignal is what workers are asked to end with, unless the user chose a signal.
const stopSignal = unix.SIGTERM

// lifecycle decides what the events of an attempt lead to. It does nothing itself: whatever
// has an effect is done by its world.
type lifecycle struct {
	world  world
	policy policy

	state     state
	live      int            // workers that have been started and not waited for
	spawning  bool           // more workers may yet be started
	suspended bool           // nothing is started or goes on until SIGCONT
	asked     bool           // the user asked for the end
	signal    syscall.Signal // that workers were asked to end with
	err       error          // why the launcher could not do its work
}

// policy is what the user decided about endings.
type policy struct {
	grace       time.Duration
	failureWait time.Duration
	sweeps      bool // descendants are waited for and ended
	leaveBehind bool // but not those of a job that ended well
}

// world is what a lifecycle acts on: processes, timers and the terminal. An Attempt is one;
// the test of the lifecycle has another.
type world interface {
	// pauseStarting, resumeStarting and haltStarting control the starting of workers.
	pauseStarting()
	resumeStarting()
	haltStarting()
	// abandonTemplate ends a template that does not answer.
	abandonTemplate()

	// signalWorkers sends a signal to the process group of each live worker.
	signalWorkers(syscall.Signal)
	// askWorkers sends the ending signal to them, and askWorker to one that has been
	// started late. killWorker kills one.
	askWorkers(syscall.Signal)
	askWorker(*worker, syscall.Signal)
	killWorker(*worker)

	// leftovers counts the descendants that workers have left, ended ones included.
	leftovers() int
	// askLeftovers sends the ending signal to those that it has not reached yet.
	askLeftovers(syscall.Signal)
	// killAll sends SIGKILL to all that is left, workers included, and counts as leftovers
	// does.
	killAll() int
	// giveUp records what is left as unkillable.
	giveUp()
	// killMembers kills the members of the job's control group.
	killMembers()

	// setTimer has the event timeExpired come once, in that time; stopTimer prevents it.
	setTimer(time.Duration)
	stopTimer()
	// drain waits for the workers' last output; the event drained tells its end.
	drain()

	// stopAnnounced tells observers that the workers have been asked to end.
	stopAnnounced(syscall.Signal)
	say(line string)
	debug(line string)
}

// endedWorker is what matters of a worker that has ended.
type endedWorker interface {
	// failed reports whether it did not end well.
	failed() bool
	// ending says how it ended: "rank 1 (pid 4711) exited with code 3".
	ending() string
}

// begin begins an attempt whose workers are being started.
func (l *lifecycle) begin(w world, p policy) {
	l.world, l.policy, l.spawning, l.signal = w, p, true, stopSignal
}

// spawned: a worker has been started.
func (l *lifecycle) spawned(w *worker) {
	l.live++
	switch l.state {
	case starting:
	case stopping: // it was in the making when the others were asked
		l.world.askWorker(w, l.signal)
	case killing, draining:
		l.world.killWorker(w)
	default:
		l.impossible("a worker that starts")
	}
}

// spawnFailed: a worker could not be started, and no further one will be. When the job is
// being stopped anyway that may be why.
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

// spawningEnded: no further worker will be started.
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

// workerExited: a worker has ended and been waited for.
func (l *lifecycle) workerExited(w endedWorker) {
	l.live--
	switch l.state {
	case starting, running:
		if w.failed() {
			l.workerFailed(w)
		}
		l.checkGone()
	case leaving, stopping, killing:
		l.checkGone()
	case draining: // one that would not die, after all
	default:
		l.impossible("the end of a worker")
	}
}

// workerFailed: the first worker did not end well. The others are asked to end, now or when
// they have had time to leave by themselves.
func (l *lifecycle) workerFailed(w endedWorker) {
	others := plural.Of(l.live, "the other worker", "the other %d workers")
	switch {
	case l.live == 0:
		l.beginStop(stopSignal)
	case l.policy.failureWait > 0 && l.state == running: // else they wait for ranks that never come
		l.enter(leaving)
		l.world.setTimer(l.policy.failureWait)
		l.world.say(fmt.Sprintf("%s: up to %s for %s to leave unasked, then SIGTERM", w.ending(),
			l.policy.failureWait, others))
	default:
		l.world.say(fmt.Sprintf("%s: stopping %s (SIGTERM, then SIGKILL after %s)", w.ending(),
			others, l.policy.grace))
		l.beginStop(stopSignal)
	}
}

// templateDied: the process that workers are forked from is gone, and with it the promise
// that the job can be restarted and that its workers are all alike.
func (l *lifecycle) templateDied(err error) {
	switch l.state {
	case starting, running, leaving:
		l.err = err
		l.world.say(fmt.Sprintf("%s: stopping %s", err,
			plural.Of(l.live, "%d worker", "%d workers")))
		l.beginStop(stopSignal)
	default:
	}
}

// stopRequested: the user wants the end.
func (l *lifecycle) stopRequested(sig syscall.Signal) {
	l.asked = true
	switch l.state {
	case starting, running, leaving:
		l.beginStop(sig)
	case draining:
		l.world.setTimer(drainLimit)
	default: // it comes anyway
	}
}

// hurryRequested: nobody else could end the job any more, if this process ended.
func (l *lifecycle) hurryRequested() {
	switch l.state {
	case stopping, lingering:
		l.world.setTimer(min(l.policy.grace, hurriedGrace))
	default:
	}
}

// killRequested: the user does not wait for the grace period.
func (l *lifecycle) killRequested() {
	l.stopRequested(stopSignal)
	switch l.state {
	case stopping, lingering:
		l.beginKill()
	default:
	}
}

// suspendRequested: everything is to stop until SIGCONT.
func (l *lifecycle) suspendRequested() {
	l.suspended = true
	l.world.pauseStarting()
	l.world.signalWorkers(unix.SIGSTOP)
}

// signalRequested: the workers are to get a signal.
func (l *lifecycle) signalRequested(sig syscall.Signal) {
	if sig == unix.SIGCONT && l.suspended {
		l.suspended = false
		l.world.resumeStarting()
	}
	l.world.signalWorkers(sig)
}

// timeExpired: the time that the state allows is up.
func (l *lifecycle) timeExpired() {
	switch l.state {
	case leaving:
		l.world.say(fmt.Sprintf("stopping %s (SIGTERM, then SIGKILL after %s)",
			plural.Of(l.live, "the other worker", "the other %d workers"), l.policy.grace))
		l.beginStop(stopSignal)
	case stopping, lingering:
		l.beginKill()
	case killing:
		l.world.giveUp()
		l.beginDrain()
	case draining:
		l.enter(over)
	default:
		l.impossible("the end of a time")
	}
}

// childEnded: SIGCHLD came, or a child of the launcher has been waited for. Ended orphans
// have been reaped.
func (l *lifecycle) childEnded() {
	switch l.state {
	case lingering, killing:
		l.checkGone()
	default:
	}
}

// killAgain: it is time for another round of SIGKILL, because a process may have forked
// before it was hit, and what it left came here.
func (l *lifecycle) killAgain() {
	switch l.state {
	case killing:
		if l.world.killAll() == 0 && l.gone() {
			l.beginDrain()
		}
	default:
		l.impossible("another round of SIGKILL")
	}
}

// drained: the output has been passed on.
func (l *lifecycle) drained() {
	if l.state != draining {
		l.impossible("the end of the output")
		return
	}
	l.enter(over)
}

// beginStop asks the workers to end.
func (l *lifecycle) beginStop(sig syscall.Signal) {
	l.enter(stopping)
	l.suspended, l.signal = false, sig
	l.world.haltStarting()
	l.world.askWorkers(sig)
	l.world.setTimer(l.policy.grace)
	l.world.stopAnnounced(sig)
}

// beginKill ends the grace period.
func (l *lifecycle) beginKill() {
	l.enter(killing)
	if l.spawning {
		l.world.abandonTemplate()
	}
	l.world.setTimer(killLimit)
	l.killAgain()
}

// gone reports whether no worker is left and none will be started.
func (l *lifecycle) gone() bool { return l.live == 0 && !l.spawning }

// checkGone goes on when no worker is left. Descendants of theirs may be.
func (l *lifecycle) checkGone() {
	if !l.gone() {
		return
	}
	left := 0
	switch {
	case l.state == killing:
		left = l.world.killAll()
	case l.policy.sweeps && !(l.policy.leaveBehind && l.state < leaving):
		left = l.world.leftovers()
	}
	switch {
	case left == 0:
		l.beginDrain()
	case l.state < lingering:
		if l.state != stopping { // whose grace period goes on
			l.world.setTimer(l.policy.grace)
		}
		l.enter(lingering)
		l.world.askLeftovers(l.signal)
		l.childEnded() // one may have ended before it could be counted
	}
}

// beginDrain waits for the workers' last words. A pipe that somebody outside of the job
// still holds (a descriptor can be passed on) is given up when it is silent; a reader of
// ours who takes his time is not, unless the user wants the end.
func (l *lifecycle) beginDrain() {
	if !l.policy.leaveBehind || l.state >= leaving {
		// A member need not be a descendant: one that was started in another PID namespace
		// (nsenter(1)) and then lost its parent is that one's init's.
		l.world.killMembers()
	}
	l.enter(draining)
	l.world.stopTimer()
	l.world.drain()
	if l.asked {
		l.world.setTimer(2 * drainLimit)
	}
}
