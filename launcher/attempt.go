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

// Attempt is one attempt at a plan: all its workers, from the first start to the last end.
// Its methods may be called from any goroutine.
type Attempt struct {
	*shared
	plan   *plan.Plan
	number int           // of attempts before it
	cgroup *cgroup.Group // nil without one
	events *mailbox
	gate   *gate
	begun  chan struct{} // closed when no further worker will be started
	done   chan struct{}
	ended  func() // called before done is closed; may be nil

	// What follows belongs to the goroutine that runs the attempt. Once begun is closed,
	// the list of workers stays as it is; once done is closed, everything does.
	lifecycle
	workers []*worker
	waiter  *spawn.Waiter
	output  *stdio.Output
	timer   *time.Timer     // for the end of a state
	rounds  *time.Timer     // for another round of SIGKILL
	copied  <-chan struct{} // closed when all output has been passed on
	// signalled are the process groups that were sent the ending signal, since when.
	signalled map[int]bool
	stopSent  time.Time
	// leftBehind says that the workers' descendants have been asked to end.
	leftBehind         bool
	oomKills           int   // what the kernel had counted when this was last looked at
	startErr           error // why not all workers could be started, once begun is closed
	killed, unkillable []process.Descendant
	result             Result
}

// worker is a planned worker and its process.
type worker struct {
	*plan.Worker
	*spawn.Process
	stderr *stdio.Tail // nil if it does not come this way
	oom    bool        // killed, and the kernel counted one more that it killed for lack of memory
}

// failed reports whether the worker did not end well.
func (w *worker) failed() bool {
	end := w.End()
	return !end.Status.OK() || end.Err != nil
}

// ending says how the worker ended: "rank 1 (pid 4711) exited with code 3".
func (w *worker) ending() string { return w.Label(w.PID) + " " + w.End().Status.String() }

// newAttempt prepares an attempt. ended may be nil.
func newAttempt(p *plan.Plan, s *shared, number int, cg *cgroup.Group, ended func()) *Attempt {
	a := &Attempt{
		shared: s, plan: p, number: number, cgroup: cg, ended: ended,
		events: newMailbox(), gate: newGate(),
		begun: make(chan struct{}), done: make(chan struct{}),
		output: stdio.NewOutput(s.stdout, s.stderr, p.WorldSize-1),
		timer:  stoppedTimer(), rounds: stoppedTimer(), signalled: map[int]bool{},
	}
	s.observing.Lock()
	s.number = number
	s.observing.Unlock()
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

// Join waits for the end of all workers, for no longer than the timeout; a negative one is
// none, 0 only looks. It reports whether all are gone, and then how the job ended: nil, a
// *RaisedError or *ExitedError for the first worker that failed by itself, a *StoppedError,
// or why the launcher could not do its work. It may be called any number of times and from
// several goroutines.
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

// Wait waits for the end of all workers and says how the job ended, as Join does. If ctx
// ends first, it returns the context's error; the workers go on.
func (a *Attempt) Wait(ctx context.Context) error {
	select {
	case <-a.done:
		return a.result.Failure()
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// Done is closed when the attempt is over.
func (a *Attempt) Done() <-chan struct{} { return a.done }

// Result says how the attempt ended; call it after Done is closed.
func (a *Attempt) Result() Result { return a.result }

// PIDs are the process ids of the workers by local rank, also of those that have ended.
func (a *Attempt) PIDs() []int {
	<-a.begun
	pids := make([]int, len(a.workers))
	for i, w := range a.workers {
		pids[i] = w.PID
	}
	return pids
}

// Stop asks all workers to end: the signal and SIGCONT to each one's process group, the
// grace period, then SIGKILL. Further calls change nothing.
func (a *Attempt) Stop(sig syscall.Signal) {
	a.post("request to stop by "+process.SignalName(sig), func() { a.stopRequested(sig) })
}

// Kill ends the grace period at once.
func (a *Attempt) Kill() { a.post("request to kill", a.killRequested) }

// Signal passes a signal on to each worker's process group.
func (a *Attempt) Signal(sig syscall.Signal) {
	a.post("signal "+process.SignalName(sig), func() { a.signalRequested(sig) })
}

// Suspend stops each worker's process group and returns when that is done.
// Signal(SIGCONT) resumes them.
func (a *Attempt) Suspend() {
	stopped := make(chan struct{})
	a.suspend(func() { close(stopped) })
	<-stopped
}

// suspend is Suspend, but it does not wait; done is called in any case.
func (a *Attempt) suspend(done func()) {
	a.events.put(event{"request to suspend", func() { a.suspendRequested(); done() }, done})
}

// hurry leaves no more than a moment of the grace period.
func (a *Attempt) hurry() { a.post("request to hurry", a.hurryRequested) }

func (a *Attempt) post(name string, act func()) { a.events.put(event{name: name, act: act}) }

// run is the attempt.
func (a *Attempt) run() {
	defer close(a.done)
	defer a.timer.Stop()
	defer a.rounds.Stop()
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
	if a.ended != nil {
		a.ended()
	}
}

// await waits for one event, or several that have come by mail, and acts on it.
func (a *Attempt) await() {
	select {
	case <-a.events.ready:
		for _, e := range a.events.take() {
			a.debug(e.name)
			e.act()
		}
	case <-a.sup.ChildEnded():
		a.orphansEnded()
	case <-a.sup.Spawner().Released():
		a.orphansEnded()
	case <-a.templateDead:
		a.templateDead = nil
		a.templateDied(a.templateEnd())
	case <-a.timer.C:
		a.timeExpired()
	case <-a.rounds.C:
		a.killAgain()
	case <-a.copied:
		a.drained()
	}
}

// workerEnded is called when a worker has been waited for.
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

// orphansEnded reaps what has come to this process and exited.
func (a *Attempt) orphansEnded() {
	if a.policy.sweeps {
		spawn.ReapOrphans()
		a.childEnded()
	}
}

// countOOMKills counts the processes that the kernel has killed because memory had run out:
// those of the job, where its control group counts them, else those of the whole machine.
func (a *Attempt) countOOMKills() int {
	if a.cgroup != nil {
		if n, known := a.cgroup.OOMKills(); known {
			return n
		}
	}
	return process.OOMKills()
}

var _ world = (*Attempt)(nil)
