//go:build linux

package run

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/gpulaunch/gpulaunch/cmd/gpulaunch/cli"
	"github.com/gpulaunch/gpulaunch/launcher"
)

// Where metrics are served unless the user says otherwise (on the loopback, since there is
// no password), and the address that stands for no metrics.
const (
	DefaultMetricsAddress = "127.0.0.1:9750"
	NoMetrics             = "off"
)

// namespaceOff is the value of --pid-namespace for a job that shares the namespace of its user.
const namespaceOff = "off"

// flags are those of run.
type flags struct {
	cli.PlanFlags
	grace   cli.Seconds
	wait    cli.Seconds // for the others, after a failure
	restart restartFlags
	method  launcher.StartMethod
	preload []string
	report  string
	output  launcher.OutputMode
	stdin   string
	sweep   string
	// namespace is when the job gets a PID namespace: off, auto or on.
	namespace string
	onXID     string
	address   string
	keepFDs   bool
	quiet     bool
	debug     bool
	// named says that the user chose the metrics' address.
	named bool
	// unknown are warnings about inherited variables that stand for no flag.
	unknown []string
}

// restartFlags say how long the job waits before restarts.
type restartFlags struct {
	delay, longest cli.Seconds
}

func (f *restartFlags) register(fs *pflag.FlagSet) {
	f.delay = cli.Seconds(launcher.DefaultRestartDelay)
	f.longest = cli.Seconds(launcher.DefaultRestartMaxDelay)
	fs.Var(&f.delay, "restart-delay",
		"`TIME` to wait before the first restart; it is\ndoubled for each further one")
	fs.Var(&f.longest, "restart-max-delay",
		"the longest time (`MAX`) to wait before a\nrestart")
}

// check refuses a first delay that is longer than the longest one if the user has named both.
// Otherwise the one that the user has not named gives way.
func (f *restartFlags) check(fs *pflag.FlagSet) error {
	first, longest := fs.Changed("restart-delay"), fs.Changed("restart-max-delay")
	switch {
	case f.delay <= f.longest:
	case first && longest:
		return fmt.Errorf("--restart-delay=%s is longer than --restart-max-delay=%s: "+
			"make it shorter", &f.delay, &f.longest)
	case longest:
		f.delay = f.longest
	default:
		f.longest = f.delay
	}
	return nil
}

// NewCommand makes the command run. job is nil but in the process that runs the job.
func NewCommand(job *Job) *cobra.Command {
	f := &flags{grace: cli.Seconds(launcher.DefaultGrace), stdin: "none", sweep: "on",
		namespace: namespaceOff,
		onXID:     "report", method: launcher.StartExec}
	c := &cobra.Command{
		Use:   "run [flags] [--] PROGRAM [ARGUMENT...]",
		Short: "Run a program once per GPU, or on CPUs if there is none",
		Long: `Run starts PROGRAM once per usable GPU. Each worker sees only its own device and
runs on the CPUs next to it. In its environment it has RANK, WORLD_SIZE,
MASTER_ADDR and the other variables that torchrun sets. If a worker fails, the
others are stopped.

What follows PROGRAM, or --, belongs to the worker. If PROGRAM is a Python
script (.py), a zip application (.pyz, or any archive with a __main__.py) or a
folder with a __main__.py, python3 -u runs it, or the interpreter that
PYTHON_EXEC names.

gpulaunch help flags explains the flags in groups. Most of them can also be
given as a variable: GPULAUNCH_GRACE=5m stands for --grace=5m.`,
		Example: `  gpulaunch run train.py --epochs 3
  gpulaunch run --nproc-per-node=4 -m package.train
  gpulaunch run --start-method=forkserver --preload=torch train.py
  gpulaunch run --affinity=exclusive --metrics-address=:9750 -- ./serve
  gpulaunch run --nnodes=2 --node-rank=1 --master-addr=10.0.0.1 train.py`,
		RunE: func(c *cobra.Command, args []string) error {
			if err := cli.FromEnvironment(c.Flags()); err != nil {
				return err
			}
			if err := f.restart.check(c.Flags()); err != nil {
				return err
			}
			f.named = c.Flags().Changed("metrics-address")
			f.unknown = cli.UnknownVariables(os.Environ(), c.Flags())
			if job == nil {
				return errors.New("run needs its keeper: start it as gpulaunch run")
			}
			return job.run(f, args)
		},
	}
	fs := c.Flags()
	fs.SetInterspersed(false)
	f.Register(fs)
	fs.Var(&f.grace, "grace",
		"grace period: `DURATION` that workers may take\nto exit before they are killed")
	fs.Var(&f.wait, "failure-wait",
		"`DURATION` that the other workers may go on after\none has failed")
	f.restart.register(fs)
	cli.Parsed(fs, "start-method", "METHOD",
		"exec, or forkserver: fork Python workers from a\ntemplate process that has imported the "+
			"modules\nof --preload", &f.method, launcher.ParseStartMethod)
	fs.StringSliceVar(&f.preload, "preload", nil,
		"Python `MODULES` that the template process\nimports, such as torch,numpy")
	fs.StringVar(&f.report, "report", "", "write to this `FILE` as JSON how the job ended")
	cli.Parsed(fs, "output", "MODE",
		"output of workers: prefix (rank before each\nline) or inherit (by default prefix, or "+
			"inherit\nwith one worker)", &f.output, launcher.ParseOutputMode)
	cli.Parsed(fs, "stdin", "WHO", "worker that gets the standard input: none or\nrank0", &f.stdin,
		cli.OneOf("none", "rank0"))
	fs.BoolVar(&f.keepFDs, "keep-fds", false,
		"let workers inherit descriptors above 2,\nNOTIFY_SOCKET and LISTEN_*")
	cli.Parsed(fs, "sweep", "WHEN",
		"end the processes that workers leave behind: on,\nor off for a job that ends well",
		&f.sweep, cli.OneOf("on", "off"))
	cli.Parsed(fs, "pid-namespace", "WHEN",
		"PID namespace for the job, of which nothing\nsurvives gpulaunch: off, on, or auto (where "+
			"it\nis permitted)",
		&f.namespace, cli.OneOf(namespaceOff, "auto", "on"))
	cli.Parsed(fs, "on-xid", "WHAT",
		"what to do about XID events of the job's GPUs:\nreport, or stop the job at one that is "+
			"fatal to\na GPU", &f.onXID, cli.OneOf("report", "stop"))
	fs.StringVar(&f.address, "metrics-address", DefaultMetricsAddress,
		"serve metrics on this `ADDR` (HOST:PORT), or\noff")
	fs.BoolVarP(&f.quiet, "quiet", "q", false, "print only what goes wrong")
	fs.BoolVar(&f.debug, "debug", false,
		"print each event and each change of state, with\nits time")
	return c
}

// check refuses a command line that cannot work.
func (f *flags) check(args []string) error {
	if len(args) == 0 {
		return errors.New("there is no program to run: gpulaunch run [flags] PROGRAM [ARGUMENT...]")
	}
	for i, module := range f.preload {
		f.preload[i] = strings.TrimSpace(module)
	}
	if len(f.preload) > 0 && f.method != launcher.StartForkserver {
		return fmt.Errorf("--preload=%s needs --start-method=forkserver",
			strings.Join(f.preload, ","))
	}
	return f.Complete(os.Environ())
}

// Resolve finds the program of a command line and gives its argument vector.
func Resolve(f *cli.PlanFlags, args []string) ([]string, error) {
	c := launcher.Command{Args: args, Module: f.Module, NoPython: f.NoPython,
		Python: os.Getenv("PYTHON_EXEC")}
	argv, err := c.Resolve()
	var start *launcher.StartError
	if errors.As(err, &start) {
		return nil, &cli.ExitError{Code: start.ExitCode(), Err: err}
	}
	return argv, err
}

// FindPython gives the path of the interpreter that a job would use.
func FindPython() (string, error) {
	argv, err := Resolve(&cli.PlanFlags{Module: true}, []string{"module"})
	if err != nil {
		return "", err
	}
	return argv[0], nil
}
