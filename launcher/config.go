package launcher

import (
	"fmt"
	"os"
	"os/signal"
	"time"

	"golang.org/x/sys/unix"

	"github.com/gpulaunch/gpulaunch/launcher/plan"
)

// DefaultGrace is the grace period of a Config that names none.
const DefaultGrace = 30 * time.Second

// StartMethod is how worker processes come into being.
type StartMethod string

const (
	// StartExec starts each worker as a new program.
	StartExec StartMethod = "exec"
	// StartForkserver forks Python workers from a template process that has
	// imported modules once for all of them.
	StartForkserver StartMethod = "forkserver"
)

// ParseStartMethod reads "exec" or "forkserver".
func ParseStartMethod(s string) (StartMethod, error) {
	switch m := StartMethod(s); m {
	case StartExec, StartForkserver:
		return m, nil
	}
	return "", fmt.Errorf("%q is not a start method: use exec or forkserver", s)
}

// Config is how a plan's workers are run. All but Argv may be left out.
type Config struct {
	// Argv is the workers' command as Command.Resolve gives it: the first entry is
	// a path.
	Argv []string
	// Environ is the environment to inherit; nil means os.Environ().
	Environ []string
	// StartMethod is exec unless said otherwise. Forkserver needs Subreaper: that
	// is how a forked worker becomes a child of this process.
	StartMethod StartMethod
	// Preload are the Python modules that the template of StartForkserver imports.
	Preload []string
	// Grace is how long workers may take to end after being asked to, before they
	// are killed. 0 means DefaultGrace, a negative one none.
	Grace time.Duration
	// FailureWait is how long the others may go on after a worker has failed before
	// they are asked to end, so that they can leave by themselves: srun(1)'s --wait,
	// the grace_period of PyTorch's ProcessContext.join.
	FailureWait time.Duration
	// Replan gives the plan for a restart, in which CPUs may have become allowed or
	// forbidden; it gets the one before. nil keeps that. The number of workers and
	// their ranks must stay.
	Replan func(plan.Plan) (plan.Plan, error)
	// Output is what becomes of the workers' output: by default OutputInherit for
	// one worker and OutputPrefix for several. Stdout and Stderr take it when it is
	// prefixed; nil means this process's own.
	Output         OutputMode
	Stdout, Stderr *Sink
	// Stdin is for rank 0; nil means empty standard input for all.
	Stdin *Stdin
	// Spawner starts the workers. It must outlive the job; nil makes one for it.
	Spawner *Spawner
	// Subreaper makes this process one: descendants that lose their parent come to
	// it, are waited for and ended with the job. It then reaps every child that was
	// not started through a Spawner, so a program that starts processes of its own
	// besides must not ask for it.
	Subreaper bool
	// ChildEnded has a value after SIGCHLD; nil has Subreaper listen itself.
	ChildEnded <-chan os.Signal
	// LeaveBehind lets descendants of workers live on after a job that ended well.
	LeaveBehind bool
	// XIDs are what the GPUs' driver reports while the job runs; nil for nothing.
	XIDs *XIDLog
	// Keeper is the supervisor's link to its keeper; nil without one.
	Keeper *KeeperLink
	// Observe is told each event; nil for nobody.
	Observe func(Event)
	// Log is told what a user should read, one line each, without the newline.
	// It must not block. nil for nobody.
	Log func(line string)
}

// complete fills in what was left out. What that opened, closers close again.
func (c *Config) complete(workers int) (closers []func(), err error) {
	if c.Environ == nil {
		c.Environ = os.Environ()
	}
	if c.StartMethod == "" {
		c.StartMethod = StartExec
	}
	switch {
	case c.Grace == 0:
		c.Grace = DefaultGrace
	case c.Grace < 0:
		c.Grace = 0
	}
	if c.Output == "" {
		c.Output = OutputPrefix
		if workers == 1 {
			c.Output = OutputInherit
		}
	}
	if c.Stdout == nil {
		c.Stdout = NewSink(os.Stdout, nil)
	}
	if c.Stderr == nil {
		c.Stderr = NewSink(os.Stderr, nil)
	}
	if c.Log == nil {
		c.Log = func(string) {}
	}
	if c.Subreaper {
		if err := BecomeSubreaper(); err != nil {
			return nil, err
		}
	}
	if c.Subreaper && c.ChildEnded == nil {
		ended := make(chan os.Signal, 1) // one SIGCHLD is as good as many
		signal.Notify(ended, unix.SIGCHLD)
		c.ChildEnded = ended
		closers = append(closers, func() { signal.Stop(ended) })
	}
	if c.Spawner == nil {
		c.Spawner = NewSpawner()
		closers = append(closers, c.Spawner.Close)
	}
	return closers, nil
}

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
