//go:build linux

package run

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gpulaunch/gpulaunch/cmd/gpulaunch/cli"
	"github.com/gpulaunch/gpulaunch/gpu"
	"github.com/gpulaunch/gpulaunch/gpu/probe"
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
	place   early.Place
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
	searched     bool          // the hierarchy has been searched for abandoned control groups
	saidInput    bool          // that nobody reads the standard input has been said
	hang         atomic.Bool   // the user has been told that NVML hangs while the job is planned
}

const (
	// launchLimit is how long what can wait does wait for the job to start its workers:
	// many workers take long, and so do modules that are preloaded.
	launchLimit = 100 * time.Millisecond
	// headStart is how long workers then have the CPUs for themselves.
	headStart = 10 * time.Millisecond
)

// Begin runs a job in a goroutine that ends the process.
func Begin(command early.Command, signals *early.Signals) *Job {
	j := &Job{place: command.Place, begun: parseTime(command.Started), process: time.Now(),
		reading: machine.Begin(""), launched: make(chan struct{})}
	j.markLaunched = sync.OnceFunc(func() { close(j.launched) })
	j.metrics.attached = make(chan Metrics, 1)
	go j.main(command, signals)
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
func (j *Job) main(command early.Command, signals *early.Signals) {
	sup, err := supervisor.Connect(command.Link, signals)
	if err == nil {
		j.sup = sup
		root := cli.NewRoot()
		root.AddCommand(NewCommand(j))
		root.SetArgs(append([]string{"run"}, command.Args...))
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
	if f.stdin == "rank0" {
		if err := j.sup.ShareTerminal(0); err != nil {
			return err
		}
	}
	if f.namespace != namespaceOff && j.place == early.First {
		j.sup.EnterNamespace(f.namespace)
		return nil
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
	gpus.OnHang = j.sayHang
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
	config := j.config(argv, m, gpus)
	j.announce(p)
	j.searchAbandoned()
	j.watchGPUs(&config, gpus, m, p)
	r := launcher.Run(context.Background(), p, config)
	j.markLaunched()
	return r.Report, j.finish(r)
}

// config says how the job is run.
func (j *Job) config(argv []string, m plan.Machine, gpus *probe.Watcher) launcher.Config {
	c := launcher.Config{
		Argv: argv, Grace: time.Duration(j.grace), FailureWait: time.Duration(j.wait),
		RestartDelay:    time.Duration(j.restart.delay),
		RestartMaxDelay: time.Duration(j.restart.longest),
		StartMethod:     j.method, Preload: j.preload, KeepFDs: j.keepFDs,
		Output: j.output, Stdout: &j.out.stdout, Stderr: &j.out.stderr, OutputLost: j.out.lost,
		Supervisor: j.sup, Subreaper: true, LeaveBehind: j.sweep == "off",
		StopOnFatalXID: j.onXID == "stop", Log: j.out.say, Observe: j.observe,
		Replan: func(before plan.Plan) (plan.Plan, error) { return j.replan(m, gpus, before) },
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

// replan reads again which CPUs may be used, and which of the GPUs of the start m are still usable.
func (j *Job) replan(m plan.Machine, gpus *probe.Watcher, before plan.Plan) (plan.Plan, error) {
	o := j.Options
	o.Workers = o.Workers.Fixed(len(before.Workers))
	inv, visible := m.Inventory, m.Visible
	if before.Mode == plan.ModeGPU && inv.Source == gpu.SourceNVML {
		var lost bool
		inv, lost = j.refreshed(inv, gpus)
		visible = Visible(inv)
		nameless := func(u gpu.Unit) bool { return u.Device.UUID == "" }
		if lost && o.DeviceID == "" && !slices.ContainsFunc(visible.Units, nameless) {
			o.DeviceID = plan.DeviceUUID // CUDA may count fewer GPUs now
		}
	}
	m, err := machine.Read("", inv, visible, o)
	if err != nil {
		return plan.Plan{}, err
	}
	return plan.New(m, o)
}

// refreshLimit is how long NVML may take to list the GPUs before a restart.
const refreshLimit = 5 * time.Second

// refreshed returns the GPUs of the start as they are now, and whether one of them is not usable
// any more. If NVML does not answer, they stay as they were: they may be usable all the same.
func (j *Job) refreshed(before gpu.Inventory, gpus *probe.Watcher) (inv gpu.Inventory, lost bool) {
	ctx, cancel := context.WithTimeout(context.Background(), refreshLimit)
	defer cancel()
	now, err := gpus.Inventory(ctx)
	if err == nil && now.Source != gpu.SourceNVML {
		err = errors.New(now.Reason)
	}
	if err != nil {
		j.out.say(fmt.Sprintf("warning: NVML does not say which GPUs are usable (%v); the restart "+
			"uses those of the start", err))
		return before, false
	}
	inv = before.Refreshed(now)
	for i, d := range inv.Devices {
		lost = lost || !d.Usable() && before.Devices[i].Usable()
	}
	return inv, lost
}
