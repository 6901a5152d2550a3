package launcher

import (
	"fmt"
	"io"
	"os"
	"time"

	"github.com/gpulaunch/gpulaunch/gpu"
	"github.com/gpulaunch/gpulaunch/launcher/internal/monitor"
	"github.com/gpulaunch/gpulaunch/launcher/supervisor"

	"github.com/gpulaunch/gpulaunch/launcher/plan"
)

// DefaultGrace is the grace period if Config.Grace is 0.
const DefaultGrace = 30 * time.Second

// StartMethod is how worker processes are started.
type StartMethod string

const (
	// StartExec starts each worker as a new program.
	StartExec StartMethod = "exec"
	// StartForkserver forks Python workers from a template process that has imported modules once
	// for all of them.
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

// OutputMode says where the workers' standard output and standard error go.
type OutputMode string

const (
	// OutputPrefix passes them on line by line, each line with the worker's rank in front.
	OutputPrefix OutputMode = "prefix"
	// OutputInherit lets the workers inherit the launcher's own descriptors.
	OutputInherit OutputMode = "inherit"
)

// ParseOutputMode reads "prefix" or "inherit".
func ParseOutputMode(s string) (OutputMode, error) {
	switch m := OutputMode(s); m {
	case OutputPrefix, OutputInherit:
		return m, nil
	}
	return "", fmt.Errorf("%q is not an output mode: use prefix or inherit", s)
}

// GPUs is where a job gets samples and events of the machine's GPUs from.
type GPUs = monitor.GPUs

// Config says how a plan's workers are run. All fields but Argv are optional.
type Config struct {
	// Argv is the workers' command, as Command.Resolve returns it: the first entry is the program's
	// path.
	Argv []string
	// Environ is the environment that workers inherit. nil means os.Environ().
	Environ []string
	// KeepFDs lets workers inherit the descriptors above 2 that this process has inherited itself,
	// and the variables NOTIFY_SOCKET and LISTEN_* of a service manager. Without it, workers do not
	// get these variables, and each such descriptor of this process is marked as close-on-exec,
	// which Go does with those that it opens. Only descriptors that Argv names as /dev/fd/N or
	// /proc/self/fd/N are left as they are.
	KeepFDs bool
	// StartMethod is StartExec if it is empty. StartForkserver needs Subreaper, because a forked
	// worker becomes a child of this process only if that is a subreaper.
	StartMethod StartMethod
	// Preload lists the Python modules that the template of StartForkserver imports.
	Preload []string
	// Grace is how long workers may take to end after they have been asked to, before they are
	// killed. 0 means DefaultGrace, and a negative value means no grace period.
	Grace time.Duration
	// FailureWait is how long the other workers may go on after one has failed, before they are
	// asked to end, so that they can leave by themselves. It is what --wait is in srun(1) and
	// grace_period in PyTorch's ProcessContext.join. 0 means that they are asked at once.
	FailureWait time.Duration
	// RestartDelay is how long the job waits before its first restart. The delay is doubled for
	// each further one, up to RestartMaxDelay, and begins anew after a worker has run for 10
	// minutes before it failed. How often a job is restarted is in plan.Options.MaxRestarts. 0
	// means DefaultRestartDelay and DefaultRestartMaxDelay (or RestartDelay if that is longer), and
	// a negative RestartDelay means that there is no delay.
	RestartDelay, RestartMaxDelay time.Duration
	// Replan returns the plan for a restart. It gets the last plan, whose CPUs may have become
	// forbidden since, while others may have become allowed, and whose GPUs may have been lost. It
	// must keep the number of workers and their ranks. nil means that restarts use the last plan.
	// A job is not restarted with a plan that has a GPU which GPUs reports as lost.
	Replan func(plan.Plan) (plan.Plan, error)
	// Output is OutputInherit for one worker and OutputPrefix for several if it is empty.
	Output OutputMode
	// Stdout and Stderr receive prefixed output, in writes of whole lines that come from several
	// goroutines. nil means this process's own. OutputLost, if not nil, is called when a write has
	// failed, once for each of the two. Later output is discarded.
	Stdout, Stderr io.Writer
	OutputLost     func(error)
	// Stdin is the standard input of rank 0. nil means that it is empty, as that of the other
	// workers always is.
	Stdin *os.File
	// Subreaper makes this process a child subreaper (prctl(2), PR_SET_CHILD_SUBREAPER):
	// descendants that lose their parent become its children, and are waited for and ended with the
	// job. It then reaps every child that this package has not started, so a program that also
	// starts processes of its own must not set it.
	Subreaper bool
	// LeaveBehind lets descendants of workers live on after a job that has ended well.
	LeaveBehind bool
	// GPUs provides samples and events of the machine's GPUs while the job runs, as probe.Watcher
	// does; nil means that there are none. Inventory is the list of GPUs from before the job.
	GPUs      GPUs
	Inventory gpu.Inventory
	// StopOnFatalXID stops the job when the driver reports an XID after which a GPU of the job
	// cannot be relied on.
	StopOnFatalXID bool
	// Supervisor is for gpulaunch itself. A program that uses this package as a library leaves it
	// nil.
	Supervisor *supervisor.Supervisor
	// Observe, if not nil, is called for each event.
	Observe func(Event)
	// Log, if not nil, is called with each line that a user should read, without the newline. It
	// must not block.
	Log func(line string)
	// Debug, if not nil, is called with a line for each internal event and each change of state.
	Debug func(line string)
}

// complete sets the fields that were left out to their defaults.
func (c *Config) complete(workers int) {
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
	c.completeRestarts()
	if c.Output == "" {
		c.Output = OutputPrefix
		if workers == 1 {
			c.Output = OutputInherit
		}
	}
	if c.Stdout == nil {
		c.Stdout = os.Stdout
	}
	if c.Stderr == nil {
		c.Stderr = os.Stderr
	}
	if c.Log == nil {
		c.Log = func(string) {}
	}
}

// completeRestarts sets the delays before restarts to their defaults.
func (c *Config) completeRestarts() {
	switch {
	case c.RestartDelay == 0:
		c.RestartDelay = DefaultRestartDelay
	case c.RestartDelay < 0:
		c.RestartDelay = 0
	}
	if c.RestartMaxDelay <= 0 {
		c.RestartMaxDelay = max(DefaultRestartMaxDelay, c.RestartDelay)
	}
}

// outputLost calls OutputLost if it is set.
func (c *Config) outputLost(err error) {
	if c.OutputLost != nil {
		c.OutputLost(err)
	}
}

// debug calls Debug if it is set.
func (c *Config) debug(format string, args ...any) {
	if c.Debug != nil {
		c.Debug(fmt.Sprintf(format, args...))
	}
}
