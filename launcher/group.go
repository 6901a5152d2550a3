package launcher

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/gpulaunch/gpulaunch/launcher/internal/cgroup"
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

// Config is how a plan's workers are run.
type Config struct {
	// Argv is the workers' command as Command.Resolve gives it.
	Argv []string
	// Environ is the environment to inherit, usually os.Environ().
	Environ []string
	// Grace is how long workers may take to end after being asked to.
	Grace time.Duration
	// Output is what becomes of the workers' output; Stdout and Stderr take it.
	Output         OutputMode
	Stdout, Stderr *Sink
	// Stdin is for rank 0; nil means empty standard input for all.
	Stdin *Stdin
	// Spawner starts the workers. It must outlive the job.
	Spawner *Spawner
	// Subreaper says that this process is one: descendants are waited for, too.
	Subreaper bool
	// ChildEnded has a value after SIGCHLD; needed with Subreaper.
	ChildEnded <-chan os.Signal
	// LeaveBehind lets descendants of workers live on after a job that ended well.
	LeaveBehind bool
	// Keeper is the supervisor's link to its keeper; nil without one.
	Keeper *KeeperLink
	// Observe is told each event; nil for nobody.
	Observe func(Event)
	// Log is told what a user should read, one line each, without the newline.
	// It must not block.
	Log func(line string)
}

// Group is one attempt at a plan: all its workers, from the first start to the
// last end. One goroutine runs it; the methods may be called from any.
type Group struct {
	plan     *Plan
	cfg      *Config
	attempt  int
	errorDir string
	cgroup   *cgroup.Group // nil without one

	requests chan func()
	exits    chan *worker
	done     chan struct{}

	state    state
	workers  []*worker
	live     int
	out      outputs
	timer    *time.Timer
	drained  <-chan struct{}
	stopSent time.Time      // when workers were first sent an ending signal
	told     map[int]bool   // the groups that were sent it
	stopWith syscall.Signal // the signal that leftovers get, too
	asked    bool           // the user asked for the end
	// suspended: no further worker is started.
	suspended bool
	result    Result
}

// worker is a planned worker and its process.
type worker struct {
	*Worker
	*proc
	waitErr error
}

// startGroup begins an attempt. errorDir is where workers may leave error
// files, cg their control group.
func startGroup(p *Plan, cfg *Config, attempt int, errorDir string, cg *cgroup.Group) *Group {
	g := &Group{
		plan: p, cfg: cfg, attempt: attempt, errorDir: errorDir, cgroup: cg,
		requests: make(chan func()), done: make(chan struct{}),
		exits: make(chan *worker, len(p.Workers)),
		out:   outputs{stdout: cfg.Stdout, stderr: cfg.Stderr, width: len(strconv.Itoa(p.WorldSize - 1))},
		timer: time.NewTimer(time.Hour), stopWith: unix.SIGTERM, told: map[int]bool{},
	}
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
	g.startAll()
	for g.state != over {
		select {
		case f := <-g.requests:
			f()
		case w := <-g.exits:
			g.workerExited(w)
		case <-g.cfg.ChildEnded:
			g.childEnded()
		case <-g.cfg.Spawner.released:
			g.childEnded()
		case <-g.timer.C:
			g.timeExpired()
		case <-g.drained:
			g.state = over
		}
	}
	g.result.settle(g)
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
	g.cfg.Spawner.do(func() { g.startEach(null) })
	if g.state != starting {
		return
	}
	g.state = running
	if g.live == 0 {
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
			return
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

func (g *Group) startWorker(planned *Worker, null *os.File) error {
	sp := spec{argv: g.cfg.Argv, cpus: planned.CPUs, env: workerEnviron(g.cfg.Environ, planned.Env, g.attemptEnv(planned))}
	stdin := null
	if g.cfg.Stdin != nil && planned.Rank == 0 {
		f, err := g.cfg.Stdin.open()
		if err != nil {
			return err
		}
		defer f.Close()
		stdin = f
	}
	sp.files, sp.cgroup = [3]uintptr{stdin.Fd(), 1, 2}, g.cgroup
	if g.cfg.Output == OutputPrefix {
		stdout, stderr, err := g.out.pipes(planned.Rank)
		if err != nil {
			return err
		}
		defer stdout.Close()
		defer stderr.Close()
		sp.files[1], sp.files[2] = stdout.Fd(), stderr.Fd()
	}
	pid, pidfd, err := g.cfg.Spawner.forkExec(sp)
	if err != nil {
		return err
	}
	g.started(planned, pid, pidfd)
	return nil
}

// attemptEnv is what the environment of a worker gets anew in each attempt.
func (g *Group) attemptEnv(w *Worker) map[string]string {
	env := map[string]string{
		"TORCHELASTIC_RESTART_COUNT": strconv.Itoa(g.attempt),
		"MASTER_PORT":                strconv.Itoa(g.plan.MasterPort),
		// Never that of a launcher around this one.
		"TORCHELASTIC_ERROR_FILE": "",
	}
	if g.errorDir != "" {
		env["TORCHELASTIC_ERROR_FILE"] = filepath.Join(g.errorDir, fmt.Sprintf("error-%d-%d.json", g.attempt, w.Rank))
	}
	return env
}

// started enters a new worker and has it waited for.
func (g *Group) started(planned *Worker, pid, pidfd int) {
	w := &worker{Worker: planned, proc: newProc(pid, pidfd)}
	g.workers = append(g.workers, w)
	g.live++
	g.tell(Event{Kind: WorkerStarted, Rank: w.Rank, PID: pid, Time: w.proc.started})
	go func() {
		w.waitErr = w.wait()
		g.cfg.Spawner.Release(pid)
		g.exits <- w
	}()
}

// tell sends an event of the attempt.
func (g *Group) tell(e Event) { g.cfg.tell(g.attempt, e) }

// tell sends an event to whoever observes.
func (c *Config) tell(attempt int, e Event) {
	if c.Observe == nil {
		return
	}
	if e.Time.IsZero() {
		e.Time = time.Now()
	}
	e.Attempt = attempt
	c.Observe(e)
}
