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

// OutputMode says what becomes of the workers' standard output and error.
type OutputMode string

const (
	// OutputPrefix writes them line by line, each with its rank in front.
	OutputPrefix OutputMode = "prefix"
	// OutputInherit gives the launcher's own descriptors to the workers.
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

// GPUs is what a job asks of the machine's GPUs.
type GPUs = monitor.GPUs

// Config is how a plan's workers are run. All but Argv may be left out.
type Config struct {
	// Argv is the workers' command as Command.Resolve gives it: the first entry is a path.
	Argv []string
	// Environ is the environment that workers inherit; nil means os.Environ().
	Environ []string
	// StartMethod is StartExec unless said otherwise. StartForkserver needs Subreaper,
	// because that is how a forked worker becomes a child of this process.
	StartMethod StartMethod
	// Preload are the Python modules that the template of StartForkserver imports.
	Preload []string
	// Grace is how long workers may take to end after being asked to, before they are
	// killed. 0 means DefaultGrace, a negative one none.
	Grace time.Duration
	// FailureWait is how long the others may go on after a worker has failed before they
	// are asked to end, so that they can leave by themselves: srun(1)'s --wait, the
	// grace_period of PyTorch's ProcessContext.join.
	FailureWait time.Duration
	// Replan gives the plan for a restart, in which CPUs may have become allowed or
	// forbidden; it gets the one before. nil keeps that. The number of workers and their
	// ranks must stay.
	Replan func(plan.Plan) (plan.Plan, error)
	// Output is what becomes of the workers' output: by default OutputInherit for one
	// worker and OutputPrefix for several.
	Output OutputMode
	// Stdout and Stderr take prefixed output, each in whole writes that come from several
	// goroutines; nil means this process's own. OutputLost is called, once for each of the
	// two, when writing has failed; what comes later is discarded. nil for nobody.
	Stdout, Stderr io.Writer
	OutputLost     func(error)
	// Stdin is for rank 0; nil means empty standard input for all.
	Stdin *os.File
	// Subreaper makes this process one: descendants that lose their parent come to it, are
	// waited for and ended with the job. It then reaps every child that was not started
	// by this package, so a program that starts processes of its own besides must not ask
	// for it.
	Subreaper bool
	// LeaveBehind lets descendants of workers live on after a job that ended well.
	LeaveBehind bool
	// GPUs answers questions about the machine's GPUs while the job runs, and tells what
	// happens to them, as probe.Watcher does; nil for none. Inventory is what it said
	// before the job.
	GPUs      GPUs
	Inventory gpu.Inventory
	// StopOnFatalXID ends the job when the driver reports an error after which a GPU of
	// the job is not to be relied on.
	StopOnFatalXID bool
	// Supervisor is what surrounds the job in gpulaunch's own process; nil for a program
	// that uses this package as a library.
	Supervisor *supervisor.Supervisor
	// Observe is told each event; nil for nobody.
	Observe func(Event)
	// Log is told what a user should read, one line each, without the newline. It must not
	// block. nil for nobody.
	Log func(line string)
	// Debug is told each event and each change of state, one line each. nil for nobody.
	Debug func(line string)
}

// complete fills in what was left out.
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

// outputLost tells that output cannot be written.
func (c *Config) outputLost(err error) {
	if c.OutputLost != nil {
		c.OutputLost(err)
	}
}

// debug reports what happens inside.
func (c *Config) debug(format string, args ...any) {
	if c.Debug != nil {
		c.Debug(fmt.Sprintf(format, args...))
	}
}
