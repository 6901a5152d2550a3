package launcher

import (
	"context"
	"slices"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/gpulaunch/gpulaunch/launcher/internal/cgroup"
	"github.com/gpulaunch/gpulaunch/launcher/internal/process"
	"github.com/gpulaunch/gpulaunch/launcher/internal/spawn"
	"github.com/gpulaunch/gpulaunch/launcher/internal/stdio"
	"github.com/gpulaunch/gpulaunch/launcher/plan"
)

// Attempt is one attempt at a plan: all its workers, from the start of the first to the end of the
// last. Its methods may be called from any goroutine.
type Attempt struct {
	*shared
	plan      *plan.Plan
	number    int           // of attempts before this one
	cgroup    *cgroup.Group // nil if the job has no control group
	events    *mailbox
	gate      *gate
	startDone chan struct{} // closed when no further worker will be started
	done      chan struct{}
	onEnd     func() // called before done is closed; may be nil

	// The fields below belong to the goroutine that runs the attempt. Other goroutines may read the
	// list of workers once startDone is closed, and the rest once done is closed.
	lifecycle
	workers   []*worker
	waiter    *spawn.Waiter
	output    *stdio.Output
	timer     *time.Timer     // limits the time in the current state
	killTimer *time.Timer     // starts another round of SIGKILL
	refresh   *time.Ticker    // keeps the folder for error files young
	drainDone <-chan struct{} // closed when all output has been passed on
	// signalled holds the process groups that received the ending signal. stopSent is when it was
	// sent.
	signalled map[int]bool
	stopSent  time.Time
	asked     map[process.ID]bool // descendants that received it by themselves
	// leftoversAsked is true once the workers' descendants have been asked to end.
	leftoversAsked     bool
	orderUnsure        bool  // workers have no pidfd, which has been said
	oomKills           int   // the kernel's count when it was last read
	startErr           error // why not all workers could be started; set before startDone is closed
	killed, unkillable []process.Descendant
	result             Result
}

// worker is a planned worker and its process.
type worker struct {
	*plan.Worker
	*spawn.Process
	stderr *stdio.Tail // nil if the launcher does not read the worker's output
	oom    bool        // killed by SIGKILL while the kernel's count of OOM kills rose
}

// failed reports whether the worker exited with an error, was ended by a signal or could not be
// waited for.
func (w *worker) failed() bool {
	end := w.End()
	return !end.Status.OK() || end.Err != nil
}

// outcome returns how the worker ended, as in "rank 1 (pid 4711) exited with code 3".
func (w *worker) outcome() string { return w.Label(w.PID) + " " + w.End().Status.String() }

// newAttempt prepares an attempt, which run then runs. onEnd may be nil.
func newAttempt(p *plan.Plan, s *shared, number int, cg *cgroup.Group, ended func()) *Attempt {
	a := &Attempt{
		shared: s, plan: p, number: number, cgroup: cg, onEnd: ended,
		events: newMailbox(), gate: newGate(),
		startDone: make(chan struct{}), done: make(chan struct{}),
		output: stdio.NewOutput(s.stdout, s.stderr, p.WorldSize-1),
		timer:  stoppedTimer(), killTimer: stoppedTimer(),
		refresh: time.NewTicker(folderRefresh), signalled: map[int]bool{},
		asked: map[process.ID]bool{},
	}
	s.emitting.Lock()
	s.attemptNumber = number
	s.emitting.Unlock()
	a.oomKills = a.countOOMKills()
	a.begin(a, policy{
		grace: s.cfg.Grace, failureWait: s.cfg.FailureWait,
		sweeps: s.cfg.Subreaper, leaveBehind: s.cfg.LeaveBehind,
	})
	return a
}

func stoppedTimer() *time.Timer {
	t := time.NewTimer(time.Hour)
	t.Stop()
	return t
}

// Join waits until all workers are gone, but no longer than timeout. A negative timeout means no
// limit, and 0 means not to wait. Join reports whether all workers are gone and, if they are,
// returns how the job ended: nil, a *RaisedError or *ExitedError for the first worker that failed
// by itself, a *StoppedError, or the reason why the launcher could not do its work. It may be
// called any number of times and from several goroutines.
func (a *Attempt) Join(timeout time.Duration) (done bool, err error) {
	ctx := context.Background()
	if timeout >= 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, timeout)
		defer cancel()
	}
	select {
	case <-a.done:
		return true, a.result.Failure()
	default:
	}
	select {
	case <-a.done:
		return true, a.result.Failure()
	case <-ctx.Done():
		return false, nil
	}
}

// Wait waits until all workers are gone and returns how the job ended, as Join does. If ctx ends
// first, Wait returns the cause, and the workers go on.
func (a *Attempt) Wait(ctx context.Context) error {
	select {
	case <-a.done:
		return a.result.Failure()
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// Done returns a channel that is closed when the attempt is over.
func (a *Attempt) Done() <-chan struct{} { return a.done }

// Result returns how the attempt ended. Call it only after Done is closed.
func (a *Attempt) Result() Result { return a.result }

// PIDs returns the process ids of the workers by local rank, including those that have ended. It
// waits until no further worker will be started.
func (a *Attempt) PIDs() []int {
	<-a.startDone
	pids := make([]int, len(a.workers))
	for i, w := range a.workers {
		pids[i] = w.PID
	}
	return pids
}

// Stop asks all workers to end: it sends sig and SIGCONT to the process group of each, waits for
// the grace period, and then sends SIGKILL. Further calls change nothing.
func (a *Attempt) Stop(sig syscall.Signal) {
	a.post("request to stop by "+process.SignalName(sig), func() { a.stopRequested(sig) })
}

// Kill ends the grace period at once.
func (a *Attempt) Kill() { a.post("request to kill", a.killRequested) }

// Signal passes a signal on to each worker's process group.
func (a *Attempt) Signal(sig syscall.Signal) {
	a.post("signal "+process.SignalName(sig), func() { a.signalRequested(sig) })
}

// Suspend stops each worker's process group with SIGSTOP and returns when the signals have been
// sent. Signal(SIGCONT) resumes the workers.
func (a *Attempt) Suspend() {
	stopped := make(chan struct{})
	a.suspend(func() { close(stopped) })
	<-stopped
}

// suspend does what Suspend does without waiting. It calls done when the workers have been stopped
// or the attempt is over.
func (a *Attempt) suspend(done func()) {
	a.events.put(event{"request to suspend", func() { a.suspendRequested(); done() }, done})
}

// hurry shortens what is left of the grace period to hurriedGrace.
func (a *Attempt) hurry() { a.post("request to hurry", a.hurryRequested) }

func (a *Attempt) post(name string, act func()) { a.events.put(event{name: name, act: act}) }

// run runs the attempt to its end. It is the goroutine that owns the attempt.
func (a *Attempt) run() {
	defer close(a.done)
	defer a.timer.Stop()
	defer a.killTimer.Stop()
	defer a.refresh.Stop()
	var err error
	if a.waiter, err = spawn.NewWaiter(a.workerEnded); err == nil {
		defer a.waiter.Close()
		go a.waiter.Run()
		a.startWorkers()
	} else {
		a.startFailed(process.WithResourceHint(err))
		a.allSpawned()
	}
	for a.state != over {
		a.await()
	}
	a.events.close()
	a.recordResult()
	if a.onEnd != nil {
		a.onEnd()
	}
}

// await waits for something to happen and handles it. It handles all events that are in the mailbox
// at once.
func (a *Attempt) await() {
	select {
	case <-a.timer.C: // first: children that end without a pause must not delay it
		a.timeExpired()
		return
	default:
	}
	select {
	case <-a.events.ready:
		for _, e := range a.events.take() {
			a.debug(e.name)
			e.act()
		}
	case <-a.sup.ChildEnded():
		if a.waiter != nil {
			a.waiter.Retry()
		}
		a.orphansEnded()
	case <-a.sup.Spawner().Released():
		a.orphansEnded()
	case <-a.templateDead:
		a.templateDead = nil
		a.templateDied(a.templateEndError())
	case <-a.timer.C:
		a.timeExpired()
	case <-a.killTimer.C:
		a.killAgain()
	case <-a.drainDone:
		for _, rank := range a.output.Interrupted() {
			a.log("a process that is none of the job's keeps writing to the output of rank " + rank +
				": it is not read any more")
		}
		a.drained()
	case <-a.refresh.C:
		a.touchFolder()
	}
}

// workerEnded is called by the waiter when it has waited for a worker.
func (a *Attempt) workerEnded(p *spawn.Process) {
	a.post("end of a worker", func() {
		w := a.workers[slices.IndexFunc(a.workers, func(w *worker) bool { return w.Process == p })]
		end := p.End()
		a.emit(Event{Kind: WorkerExited, Rank: w.Rank, PID: w.PID, Exit: end.Status, CPU: end.CPU,
			Time: end.Time})
		if end.Err != nil && a.err == nil {
			a.err = end.Err
		}
		if end.Status.EndedBy(unix.SIGKILL) {
			n := a.countOOMKills()
			w.oom, a.oomKills = n > a.oomKills, n
		}
		a.monitor.WorkerExited(w.Rank)
		a.workerExited(w)
	})
}

// orphansEnded reaps the orphans that have become children of this process and have exited.
func (a *Attempt) orphansEnded() {
	if a.policy.sweeps {
		spawn.ReapOrphans()
		a.childEnded()
	}
}

// countOOMKills returns how many processes the kernel has killed because memory had run out. It
// counts those of the job if its control group knows them, and otherwise those of the whole
// machine.
func (a *Attempt) countOOMKills() int {
	if a.cgroup != nil {
		if n, known := a.cgroup.OOMKills(); known {
			return n
		}
	}
	return process.OOMKills()
}

var _ effects = (*Attempt)(nil)
