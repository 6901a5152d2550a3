//go:build linux

package run

import (
	"context"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/gpulaunch/gpulaunch/cmd/gpulaunch/cli"
	"github.com/gpulaunch/gpulaunch/launcher"
	"github.com/gpulaunch/gpulaunch/launcher/keeper/early"
	"github.com/gpulaunch/gpulaunch/launcher/machine"
	"github.com/gpulaunch/gpulaunch/launcher/plan"
	"github.com/gpulaunch/gpulaunch/launcher/report"
	"github.com/gpulaunch/gpulaunch/launcher/supervisor"
)

// Job is the job of this process.
type Job struct {
	*flags
	begun   time.Time // when the user's command was started
	process time.Time // when this process got here
	reading *machine.Reading
	sup     *supervisor.Supervisor
	out     *console
	metrics metrics
	// reportLost is why the report could not be written, for a job that has failed anyway.
	reportLost error

	launched     chan struct{} // closed when all workers have been started, or none will be
	markLaunched func()        // closes it, once
	starting     int           // workers that have not been started yet
}

const (
	// launchLimit is how long what can wait does wait for the job to start its workers:
	// many workers take long, and so do modules that are preloaded.
	launchLimit = 100 * time.Millisecond
	// headStart is how long workers then have the CPUs for themselves.
	headStart = 10 * time.Millisecond
)

// Begin runs a job in a goroutine that ends the process. fd is the link to the keeper and
// started is when that began, in nanoseconds since the epoch; args is the command line
// behind gpulaunch run.
func Begin(fd, started string, args []string, signals *early.Signals) *Job {
	j := &Job{begun: parseTime(started), process: time.Now(), reading: machine.Begin(""),
		launched: make(chan struct{})}
	j.markLaunched = sync.OnceFunc(func() { close(j.launched) })
	j.metrics.attached = make(chan Metrics, 1)
	go j.main(fd, args, signals)
	return j
}

// AwaitLaunch waits until all workers have been started and a moment longer, but not for
// long.
func (j *Job) AwaitLaunch() {
	j.awaitLaunch()
	time.Sleep(headStart)
}

func (j *Job) awaitLaunch() {
	select {
	case <-j.launched:
	case <-time.After(launchLimit):
	}
}

// main is the whole life of the job.
func (j *Job) main(fd string, args []string, signals *early.Signals) {
	sup, err := supervisor.Connect(fd, signals)
	if err == nil {
		j.sup = sup
		root := cli.NewRoot()
		root.AddCommand(NewCommand(j))
		root.SetArgs(append([]string{"run"}, args...))
		root.SetOut(lateOutput{signals}) // for --help
		err = root.Execute()
	}
	signals.Await() // a job that is refused has not begun a phase
	cli.Complain(j.reportLost)
	code := cli.Complain(err)
	if sup != nil {
		sup.Exit(code)
	}
	os.Exit(code)
}

// lateOutput is the standard output, which is written to only once signals are subscribed to:
// SIGPIPE would end this process before.
type lateOutput struct{ signals *early.Signals }

func (o lateOutput) Write(p []byte) (int, error) {
	o.signals.Await()
	return os.Stdout.Write(p)
}

// run is the job from the flags to the exit code.
func (j *Job) run(f *flags, args []string) error {
	j.flags = f
	if err := f.check(args); err != nil {
		return err
	}
	file, err := f.createReport()
	if err != nil {
		return err
	}
	rep, err := j.launch(args)
	if file == nil {
		return err
	}
	rep.Launcher = "gpulaunch " + cli.Version()
	if rep.Started.IsZero() { // nothing was started
		rep.Started, rep.Ended, rep.ExitCode = j.begun, time.Now(), cli.ExitCode(err)
		rep.Error = strings.Join(strings.Fields(err.Error()), " ")
	}
	if e := file.Write(rep); err == nil {
		return e
	} else if e != nil {
		j.reportLost = e
	}
	return err
}

// createReport opens the report's file, if there is to be one, because it must be known
// before the job runs for a week that it cannot be written.
func (f *flags) createReport() (*report.File, error) {
	if f.report == "" {
		return nil, nil
	}
	return report.Create(f.report)
}

// launch plans and runs the job, and says how it ended. A report whose times are zero is
// that of a job of which nothing was started.
func (j *Job) launch(args []string) (rep report.Report, err error) {
	argv, err := Resolve(&j.PlanFlags, args)
	if err != nil {
		return rep, err
	}
	gpus := newWatcher(j.Library, j.sup)
	defer gpus.Close()
	j.out = newConsole(j.sup)
	defer j.out.close()
	m, p, err := j.plan(gpus.Client)
	if err != nil {
		return rep, err
	}
	j.debugf("this command began at %s, the job's process (pid %d) came to it after %.6fs",
		j.begun.Format(time.RFC3339Nano), os.Getpid(), j.process.Sub(j.begun).Seconds())
	j.debugf("planned %d workers", len(p.Workers))
	if err := j.listen(m.Inventory); err != nil {
		return rep, err
	}
	defer j.metrics.close()
	config := j.config(argv, m)
	j.announce(p)
	j.watchGPUs(&config, gpus, m, p)
	r := launcher.Run(context.Background(), p, config)
	j.markLaunched()
	return r.Report, j.finish(r)
}

// config says how the job is run.
func (j *Job) config(argv []string, m plan.Machine) launcher.Config {
	c := launcher.Config{
		Argv: argv, Grace: time.Duration(j.grace), FailureWait: time.Duration(j.wait),
		RestartDelay:    time.Duration(j.restart.delay),
		RestartMaxDelay: time.Duration(j.restart.longest),
		StartMethod:     j.method, Preload: j.preload, KeepFDs: j.keepFDs,
		Output: j.output, Stdout: &j.out.stdout, Stderr: &j.out.stderr, OutputLost: j.out.lost,
		Supervisor: j.sup, Subreaper: true, LeaveBehind: j.sweep == "off",
		StopOnFatalXID: j.onXID == "stop", Log: j.out.say, Observe: j.observe,
		Replan: func(before plan.Plan) (plan.Plan, error) { return j.replan(m, before) },
	}
	if j.grace == 0 {
		c.Grace = -1 // for a Config, 0 is the default
	}
	if j.restart.delay == 0 {
		c.RestartDelay = -1 // likewise
	}
	if j.stdin == "rank0" {
		c.Stdin = os.Stdin
	}
	if j.debug {
		c.Debug = func(line string) { j.debugf("%s", line) }
	}
	return c
}

// replan reads again which CPUs may be used; the GPUs stay those of the start.
func (j *Job) replan(m plan.Machine, before plan.Plan) (plan.Plan, error) {
	m, err := machine.Read("", m.Inventory, m.Visible, j.Options)
	if err != nil {
		return plan.Plan{}, err
	}
	o := j.Options
	o.Workers = o.Workers.Fixed(len(before.Workers))
	return plan.New(m, o)
}
