//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/gpulaunch/gpulaunch/gpu"
	"github.com/gpulaunch/gpulaunch/gpu/probe"
	"github.com/gpulaunch/gpulaunch/launcher"
	"github.com/gpulaunch/gpulaunch/launcher/machine"
	"github.com/gpulaunch/gpulaunch/launcher/plan"
	"github.com/gpulaunch/gpulaunch/launcher/report"
	"github.com/gpulaunch/gpulaunch/launcher/supervisor"
	"github.com/gpulaunch/gpulaunch/launcher/terminal"
	"github.com/gpulaunch/gpulaunch/metrics"
)

// runFlags are the flags of run beyond those of a plan.
type runFlags struct {
	jobFlags
	grace   seconds
	wait    seconds // for the others, after a failure
	method  launcher.StartMethod
	preload []string
	report  string
	output  launcher.OutputMode
	stdin   string
	sweep   string
	onXID   string
	address string
	quiet   bool
	debug   bool
	started time.Time
	// named says that the user chose the metrics' address.
	named bool
}

func newRun(sup *supervisor.Supervisor) *cobra.Command {
	f := &runFlags{grace: seconds(30 * time.Second), stdin: "none", sweep: "on", onXID: "report", method: launcher.StartExec}
	c := &cobra.Command{
		Use:   "run [flags] [--] PROGRAM [ARGUMENT...]",
		Short: "Run a program once per GPU, or on CPUs where there is none",
		Long: `Run starts PROGRAM once per usable GPU. Each worker sees its own device, runs on
the CPUs beside it and finds RANK, WORLD_SIZE, MASTER_ADDR and the other variables
that torchrun sets. When one fails, the others are stopped. What follows PROGRAM,
or --, belongs to the worker. A PROGRAM whose name ends in .py is run by python3 -u,
or by the interpreter that PYTHON_EXEC names.

Each flag can be given as a variable, too: GPULAUNCH_GRACE for --grace.`,
		Example: `  gpulaunch run train.py --epochs 3
  gpulaunch run --nproc-per-node=4 -m package.train
  gpulaunch run --start-method=forkserver --preload=torch train.py
  gpulaunch run --affinity=exclusive --metrics-address=:9750 -- ./serve
  gpulaunch run --nnodes=2 --node-rank=1 --master-addr=10.0.0.1 train.py`,
		RunE: func(c *cobra.Command, args []string) error {
			if err := environment(c.Flags()); err != nil {
				return err
			}
			f.named = c.Flags().Changed("metrics-address")
			if sup == nil {
				return errors.New("run needs its keeper: start it as gpulaunch run")
			}
			return f.run(args, sup)
		},
	}
	fs := c.Flags()
	fs.SetInterspersed(false)
	f.register(fs)
	fs.Var(&f.grace, "grace", "how long workers may take to end before they are killed")
	fs.Var(&f.wait, "failure-wait", "how long the others may go on after a worker has failed before they are stopped")
	parsed(fs, "start-method", "METHOD", "exec, or forkserver: fork Python workers from a process that has imported --preload", &f.method, launcher.ParseStartMethod)
	fs.StringSliceVar(&f.preload, "preload", nil, "Python `modules` that are imported once for all workers, as torch,numpy")
	fs.StringVar(&f.report, "report", "", "`file` for a report of how the job ended, as JSON")
	parsed(fs, "output", "MODE", "workers' output: prefix (rank before each line) or inherit (default with one)", &f.output, launcher.ParseOutputMode)
	parsed(fs, "stdin", "WHO", "who gets the standard input: none or rank0", &f.stdin, oneOf("none", "rank0"))
	parsed(fs, "sweep", "WHEN", "end what workers leave behind: on, or off for a job that ends well", &f.sweep, oneOf("on", "off"))
	parsed(fs, "on-xid", "WHAT", "errors of the job's GPUs: report, or stop the job at one that is fatal to a GPU", &f.onXID, oneOf("report", "stop"))
	fs.StringVar(&f.address, "metrics-address", metrics.DefaultAddress, "`host:port` for Prometheus, or off")
	fs.BoolVarP(&f.quiet, "quiet", "q", false, "say nothing unless something goes wrong")
	fs.BoolVar(&f.debug, "debug", false, "say each event and each change of state, with its time")
	return c
}

// run is the job from the flags to the exit code.
func (f *runFlags) run(args []string, sup *supervisor.Supervisor) error {
	f.started = time.Now()
	if err := f.check(args); err != nil {
		return err
	}
	file, err := f.createReport()
	if err != nil {
		return err
	}
	rep, err := f.launch(sup)
	if file == nil {
		return err
	}
	rep.Launcher = "gpulaunch " + version()
	if rep.Started.IsZero() { // nothing was started
		rep.Started, rep.Ended, rep.ExitCode, rep.Error = f.started, time.Now(), exitCode(err), strings.Join(strings.Fields(err.Error()), " ")
	}
	if e := file.Write(rep); e != nil && err == nil {
		return e
	}
	return err
}

// replan reads again which CPUs may be used; the GPUs stay those of the start.
func (f *runFlags) replan(m plan.Machine, before plan.Plan) (plan.Plan, error) {
	m, err := machine.Read("", m.Inventory, m.Visible, f.options)
	if err != nil {
		return plan.Plan{}, err
	}
	o := f.options
	o.Workers = o.Workers.Fixed(len(before.Workers))
	return plan.New(m, o)
}

// createReport opens the report's file, if there is to be one: that it cannot be
// written must be known before the job runs for a week.
func (f *runFlags) createReport() (*report.File, error) {
	if f.report == "" {
		return nil, nil
	}
	return report.Create(f.report)
}

// launch runs the job and says how it ended. A report whose times are zero is that of a job
// of which nothing was started.
func (f *runFlags) launch(sup *supervisor.Supervisor) (rep report.Report, err error) {
	argv, err := f.command.Resolve()
	if err != nil {
		return rep, err
	}
	gpus := newWatcher(f.library, sup)
	defer gpus.Close()
	out := newConsole(sup)
	defer out.close()
	m, p, err := f.planUnless(out, gpus.Client)
	if err != nil {
		return rep, err
	}
	config := f.config(argv, m, out)
	recorder, stop, err := f.serve(m.Inventory, out)
	if err != nil {
		return rep, err
	}
	defer stop()
	config.Observe = f.observer(recorder, out)
	f.announce(p, out)
	f.watchGPUs(&config, gpus, m, p, recorder != nil, out)
	r := launcher.Run(context.Background(), p, config)
	rep = r.Report(p, config)
	return rep, f.finish(r, rep, out)
}

// config is how the job is run.
func (f *runFlags) config(argv []string, m plan.Machine, out *console) launcher.Config {
	c := launcher.Config{
		Argv: argv, Grace: time.Duration(f.grace), FailureWait: time.Duration(f.wait),
		StartMethod: f.method, Preload: f.preload,
		Output: f.output, Stdout: &out.stdout, Stderr: &out.stderr, OutputLost: out.lost,
		Supervisor: out.sup, Subreaper: true, LeaveBehind: f.sweep == "off",
		StopOnFatalXID: f.onXID == "stop", Log: out.say,
		Replan: func(before plan.Plan) (plan.Plan, error) { return f.replan(m, before) },
	}
	if f.grace == 0 {
		c.Grace = -1 // for a Config, 0 is the default
	}
	if f.stdin == "rank0" {
		c.Stdin = os.Stdin
	}
	if f.debug {
		c.Debug = func(line string) { out.say("debug: " + line) }
	}
	return c
}

// watchGPUs has the job ask for the GPUs' figures and hear of XIDs, where NVML can tell and
// somebody wants to know. Otherwise the process that would is ended.
func (f *runFlags) watchGPUs(c *launcher.Config, gpus *probe.Watcher, m plan.Machine, p plan.Plan, metrics bool, out *console) {
	known := m.Inventory.Source == gpu.SourceNVML
	if f.onXID == "stop" && p.Mode == plan.ModeGPU && !known {
		out.say("warning: --on-xid=stop has no effect: only NVML tells of XIDs")
	}
	if !known || !metrics && p.Mode != plan.ModeGPU {
		gpus.Close()
		return
	}
	c.GPUs, c.Inventory = gpus, m.Inventory
}

// observer tells the recorder, which may be nil, and the user what happens.
func (f *runFlags) observer(recorder *metrics.Recorder, out *console) func(launcher.Event) {
	return func(e launcher.Event) {
		if recorder != nil {
			recorder.Observe(e)
		}
		if f.quiet {
			return
		}
		switch e.Kind {
		case launcher.TemplateStarted: // importing takes seconds
			out.say(e.Text)
		case launcher.TemplateReady:
			out.say(e.Template.String())
		case launcher.GPUEventsSilent:
			out.say("XIDs will not be told: " + e.Text)
		}
	}
}

// check refuses a command line that cannot work.
func (f *runFlags) check(args []string) error {
	if len(args) == 0 {
		return errors.New("there is no program to run: gpulaunch run [flags] PROGRAM [ARGUMENT...]")
	}
	for i, module := range f.preload {
		f.preload[i] = strings.TrimSpace(module)
	}
	if len(f.preload) > 0 && f.method != launcher.StartForkserver {
		return fmt.Errorf("--preload=%s needs --start-method=forkserver", strings.Join(f.preload, ","))
	}
	return f.complete(args)
}

// planned is what planUnless comes to.
type planned struct {
	machine plan.Machine
	plan    plan.Plan
	options plan.Options
	err     error
}

// planUnless reads the machine and plans, unless the user wants to stop before that is
// done: a driver may take its time, and other users of the GPUs more. The job does not begin
// while it is suspended.
func (f *runFlags) planUnless(out *console, client *probe.Client) (plan.Machine, plan.Plan, error) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	if !out.sup.Begin("planning", planningPhase{cancel: cancel}) {
		return plan.Machine{}, plan.Plan{}, nothingStarted(out.sup)
	}
	defer out.sup.End()
	result := make(chan planned, 1)
	go func() { result <- f.planNow(ctx, client, out.say) }()
	select {
	case r := <-result:
		f.options = r.options // a restart has to be planned alike
		return r.machine, r.plan, r.err
	case <-ctx.Done():
		return plan.Machine{}, plan.Plan{}, nothingStarted(out.sup)
	}
}

// planningPhase is control of planning.
type planningPhase struct {
	supervisor.NoPhase
	cancel context.CancelFunc
}

// Stop gives planning up.
func (p planningPhase) Stop(supervisor.Request) { p.cancel() }

// Kill gives planning up.
func (p planningPhase) Kill(supervisor.Request) { p.cancel() }

// nothingStarted is the error for a job that was stopped while it was planned.
func nothingStarted(sup *supervisor.Supervisor) error {
	first, _ := sup.Stopped()
	return &exitError{code: first.ExitCode(), err: fmt.Errorf("%s: nothing was started", first.Why())}
}

// serve sets up what tells Prometheus; no recorder where nothing does. The returned function
// ends it.
func (f *runFlags) serve(inv gpu.Inventory, out *console) (recorder *metrics.Recorder, stop func(), err error) {
	if f.address == metrics.Off {
		return nil, func() {}, nil
	}
	recorder = metrics.NewRecorder(metrics.Build{Version: version(), GoVersion: runtime.Version()}, f.started, inv)
	server, err := metrics.Serve(f.address, recorder)
	if err != nil && f.named {
		return nil, nil, err
	}
	if err != nil {
		out.say(err.Error() + "; going on without, choose another with --metrics-address")
		return nil, func() {}, nil
	}
	if f.named {
		out.say(fmt.Sprintf("metrics are on http://%s/metrics", server.Addr()))
	}
	return recorder, server.Close, nil
}

// announce says what is about to run.
func (f *runFlags) announce(p plan.Plan, out *console) {
	for _, w := range p.Warnings {
		out.say("warning: " + w)
	}
	if f.quiet {
		return
	}
	workers := fmt.Sprintf("%d workers", len(p.Workers))
	if len(p.Workers) == 1 {
		workers = "1 worker"
	}
	if p.Mode == plan.ModeCPU {
		out.say(fmt.Sprintf("%s on CPUs, no GPU: %s", workers, p.Reason))
		return
	}
	out.say(fmt.Sprintf("%s on %s; %s", workers, devices(p), p.Reason))
}

// devices lists the GPUs of a plan: "GPU 0, 1, 2".
func devices(p plan.Plan) string {
	var list []string
	seen := map[int]bool{}
	for _, w := range p.Workers {
		if !seen[w.Device.Index] {
			seen[w.Device.Index] = true
			list = append(list, fmt.Sprint(w.Device.Index))
		}
	}
	return "GPU " + strings.Join(list, ", ")
}

// finish says how the job ended and turns it into an exit code. The line that
// matters most comes last, where a terminal shows it.
func (f *runFlags) finish(r launcher.Result, rep report.Report, out *console) error {
	if r.ExitCode != 0 {
		var table strings.Builder
		_ = rep.Table(&table, terminal.StyleOf(os.Stderr, os.Getenv)) // a Builder takes all
		out.print(table.String())
	}
	for _, line := range r.Summary() {
		out.say(line)
	}
	if r.ExitCode == 0 {
		return nil
	}
	return &exitError{code: r.ExitCode}
}
