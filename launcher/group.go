package launcher

import (
	"fmt"
	"os"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/gpulaunch/gpulaunch/affinity"
	"github.com/gpulaunch/gpulaunch/launcher/internal/cgroup"
	"github.com/gpulaunch/gpulaunch/launcher/internal/process"
	"github.com/gpulaunch/gpulaunch/launcher/plan"
)

// Bounds for what nobody can hurry.
const (
	// killLimit is how long the end of workers that were sent SIGKILL is awaited.
	killLimit = 5 * time.Second
	// hurriedGrace is what Hurry leaves of the grace period.
	hurriedGrace = 100 * time.Millisecond
	// drainLimit is how long a pipe may be silent when nobody of the job is left,
	// and about how long output is passed on after the user asked for the end.
	drainLimit = time.Second
)

// state is where an attempt stands. It only ever goes forward.
type state int

const (
	// starting: some workers may not have been started yet.
	starting state = iota
	// running: all workers have been started.
	running
	// leaving: a worker has failed; the others may still leave by themselves.
	leaving
	// stopping: the workers have been asked to end and the grace period runs.
	stopping
	// lingering: all workers have ended; descendants that they left have been
	// asked to end and the grace period runs.
	lingering
	// killing: what is left of the workers was sent SIGKILL.
	killing
	// draining: the processes are gone, their output is still being passed on.
	draining
	// over: nothing is left to wait for.
	over
)

// Group is one attempt at a plan: all its workers, from the first start to the
// last end. One goroutine runs it; the methods may be called from any.
type Group struct {
	plan    *plan.Plan
	attempt int
	cgroup  *cgroup.Group // nil without one
	*stage

	requests chan func()
	exits    chan *worker
	begun    chan struct{} // closed when no further worker will be started
	done     chan struct{}
	ended    func() // called before done is closed

	watch    *watch
	state    state
	workers  []*worker // once begun is closed, the list stays as it is
	live     int
	forking  bool // a worker is being forked from the template
	out      outputs
	timer    *time.Timer
	drained  <-chan struct{}
	stopSent time.Time      // when workers were first sent an ending signal
	told     map[int]bool   // the groups that were sent it
	stopWith syscall.Signal // the signal that leftovers get, too
	asked    bool           // the user asked for the end
	// suspended: no further worker is started.
	suspended bool
	oomKills  int   // what the kernel had counted when this was last looked at
	startErr  error // why not all workers could be started
	result    Result
}

// worker is a planned worker and its process.
type worker struct {
	*plan.Worker
	*proc
	stderr  *tail // nil if it does not come this way
	oom     bool  // killed, and the kernel then counted one more for want of memory
	waitErr error
}

// startGroup begins an attempt. ended may be nil.
func startGroup(p *plan.Plan, s *stage, attempt int, cg *cgroup.Group, ended func()) *Group {
	g := &Group{
		plan: p, stage: s, attempt: attempt, cgroup: cg, ended: ended,
		requests: make(chan func(), 64), begun: make(chan struct{}), done: make(chan struct{}),
		exits: make(chan *worker, len(p.Workers)),
		out:   outputs{stdout: s.cfg.Stdout, stderr: s.cfg.Stderr, width: len(strconv.Itoa(p.WorldSize - 1))},
		timer: time.NewTimer(time.Hour), stopWith: unix.SIGTERM, told: map[int]bool{},
	}
	g.oomKills = g.countOOMKills()
	g.timer.Stop()
	go g.run()
	return g
}

// Done is closed when the attempt is over.
func (g *Group) Done() <-chan struct{} { return g.done }

// Result says how the attempt ended; call it after Done is closed.
func (g *Group) Result() Result { return g.result }

// Stop asks all workers to end: the signal and SIGCONT to each one's process
// group, the grace period, then SIGKILL. Further calls change nothing.
func (g *Group) Stop(sig syscall.Signal) { g.post(func() { g.stopRequested(sig) }) }

// Hurry leaves no more than a moment of the grace period.
func (g *Group) Hurry() { g.post(g.hurryRequested) }

// Kill ends the grace period at once.
func (g *Group) Kill() { g.post(g.killRequested) }

// Signal passes a signal on to each worker's process group.
func (g *Group) Signal(sig syscall.Signal) {
	g.post(func() {
		g.suspended = g.suspended && sig != unix.SIGCONT
		g.signalAll(sig)
	})
}

// Suspend stops each worker's process group and returns when that is done.
// Signal(SIGCONT) resumes them.
func (g *Group) Suspend() {
	stopped := make(chan struct{})
	g.post(func() { g.suspended = true; g.signalAll(unix.SIGSTOP); close(stopped) })
	select {
	case <-stopped:
	case <-g.done:
	}
}

func (g *Group) post(f func()) {
	select {
	case g.requests <- f:
	case <-g.done:
	}
}

// run is the attempt.
func (g *Group) run() {
	defer close(g.done)
	defer g.timer.Stop()
	var err error
	if g.watch, err = newWatch(); err == nil {
		defer g.watch.close()
		go g.watch.run(g.workerEnded)
		g.startAll()
	} else {
		g.startFailed(err)
	}
	close(g.begun)
	for g.state != over {
		g.await()
	}
	g.result.settle(g)
	if g.ended != nil {
		g.ended()
	}
}

// await waits for one event and acts on it.
func (g *Group) await() {
	select {
	case f := <-g.requests:
		f()
	case w := <-g.exits:
		g.workerExited(w)
	case <-g.cfg.ChildEnded:
		g.childEnded()
	case <-g.cfg.Spawner.released:
		g.childEnded()
	case <-g.templateDead:
		g.templateDied()
	case <-g.timer.C:
		g.timeExpired()
	case <-g.drained:
		g.state = over
	}
}

// startAll starts the workers one after the other. It runs as a whole on the
// spawner's thread: going there and back for each worker would cost two thread
// switches.
func (g *Group) startAll() {
	null, err := os.Open(os.DevNull)
	if err != nil {
		g.startFailed(fmt.Errorf("cannot open %s for the workers' standard input: %w", os.DevNull, err))
		return
	}
	defer null.Close()
	if g.template != nil {
		g.startEach(null)
	} else {
		g.cfg.Spawner.do(func() { g.startEach(null) })
	}
	if g.state != starting {
		return
	}
	g.state = running
	if g.nobody() {
		g.workersGone()
	}
}

// startEach looks for news between the workers, so that a failure or a signal
// need not wait for the last.
func (g *Group) startEach(null *os.File) {
	for i := range g.plan.Workers {
		if g.poll(); g.state != starting {
			return
		}
		if err := g.startWorker(&g.plan.Workers[i], null); err != nil {
			g.startFailed(err)
		}
	}
}

// poll handles what has happened so far, and what happens while suspended.
func (g *Group) poll() {
	for {
		if g.suspended {
			(<-g.requests)()
			continue
		}
		select {
		case f := <-g.requests:
			f()
		case w := <-g.exits:
			g.workerExited(w)
		default:
			return
		}
	}
}

func (g *Group) startWorker(planned *plan.Worker, null *os.File) error {
	sp := spec{job: g.stage, argv: g.cfg.Argv, cpus: planned.CPUs, env: planned.Environ(g.cfg.Environ, g.attemptEnv(planned)), cgroup: g.cgroup,
		memory: g.plan.Memory, memoryNodes: planned.MemoryNodes}
	sp.files = [3]*os.File{null, os.Stdout, os.Stderr}
	if g.cfg.Stdin != nil && planned.Rank == 0 {
		f, err := g.cfg.Stdin.open()
		if err != nil {
			return err
		}
		defer f.Close()
		sp.files[0] = f
	}
	var last *tail
	if g.cfg.Output == OutputPrefix {
		stdout, stderr, t, err := g.out.pipes(planned.Rank)
		if err != nil {
			return err
		}
		defer stdout.Close()
		defer stderr.Close()
		sp.files[1], sp.files[2], last = stdout, stderr, t
	}
	pid, pidfd, err := g.spawn(sp)
	if err != nil {
		return err
	}
	g.started(planned, pid, pidfd, last)
	return nil
}

// attemptEnv is what the environment of a worker gets anew in each attempt.
func (g *Group) attemptEnv(w *plan.Worker) map[string]string {
	env := map[string]string{
		"TORCHELASTIC_RESTART_COUNT": strconv.Itoa(g.attempt),
		"MASTER_PORT":                strconv.Itoa(g.plan.MasterPort),
		// Never that of a launcher around this one.
		"TORCHELASTIC_ERROR_FILE": "",
	}
	if g.folder != nil {
		env["TORCHELASTIC_ERROR_FILE"] = g.folder.Name(g.attempt, w.Rank)
	}
	return env
}

// started enters a new worker and has it waited for.
func (g *Group) started(planned *plan.Worker, pid, pidfd int, stderr *tail) {
	w := &worker{Worker: planned, proc: newProc(pid, pidfd), stderr: stderr}
	g.workers = append(g.workers, w)
	g.live++
	switch { // it may have been in the making when the others were told
	case g.state >= killing:
		w.signalGroup(unix.SIGKILL)
	case g.state >= stopping:
		g.tellToEnd(w)
	}
	g.checkCPUs(w)
	g.tell(Event{Kind: WorkerStarted, Rank: w.Rank, PID: pid, Time: w.proc.started})
	if err := g.watch.add(w); err != nil {
		// No room for the kernel to watch it: a thread waits, as it was done before epoll.
		go func() { w.waitErr = w.wait(); g.workerEnded(w) }()
	}
}

// workerEnded is called when a worker has been waited for.
func (g *Group) workerEnded(w *worker) {
	g.cfg.Spawner.Release(w.pid)
	g.exits <- w
}

// checkCPUs compares what the kernel gave a worker with what it was to get: a
// control group that has changed since the plan was made narrows it in silence
// (sched_setaffinity(2)).
func (g *Group) checkCPUs(w *worker) {
	got, err := affinity.Current(w.pid)
	if err == nil && !w.CPUs.IsEmpty() && !got.Equal(w.CPUs) {
		g.cfg.Log(fmt.Sprintf("warning: %s runs on CPUs %s instead of %s: the program binds itself, or the CPUs that gpulaunch may use have changed", w.label(), got, w.CPUs))
	}
}

// countOOMKills is how many processes the kernel has killed for want of memory: of
// the job, where its control group counts them, else of the whole machine.
func (g *Group) countOOMKills() int {
	if g.cgroup != nil {
		if n, known := g.cgroup.OOMKills(); known {
			return n
		}
	}
	return process.OOMKills()
}

// tell sends an event of the attempt.
func (g *Group) tell(e Event) { g.cfg.tell(g.attempt, e) }
