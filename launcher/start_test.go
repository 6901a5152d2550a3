package launcher

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/gpulaunch/gpulaunch/gpu"
	"github.com/gpulaunch/gpulaunch/launcher/internal/process"
	"github.com/gpulaunch/gpulaunch/launcher/internal/spawn"
	"github.com/gpulaunch/gpulaunch/launcher/launchertest"
	"github.com/gpulaunch/gpulaunch/launcher/plan"
	"github.com/gpulaunch/gpulaunch/launcher/report"
	"github.com/gpulaunch/gpulaunch/launcher/supervisor"
)

// start starts n workers as a program that uses this package as a library would.
func (h *harness) start(n int) (*Attempt, error) {
	cfg := h.cfg
	cfg.Supervisor = nil // so that the job makes its own
	return Start(context.Background(), h.plan(n), cfg)
}

func TestStartAndStop(t *testing.T) {
	h := newHarness(t, "block")
	g, err := h.start(3)
	if err != nil {
		t.Fatal(err)
	}
	pids := g.PIDs()
	if done, err := g.Join(0); done || err != nil || len(pids) != 3 {
		t.Errorf("%v %v %v", done, err, pids)
	}
	g.Stop(unix.SIGINT)
	g.Stop(unix.SIGTERM) // changes nothing
	var stopped *StoppedError
	if err := g.Wait(context.Background()); !errors.As(err, &stopped) ||
		stopped.Signal != unix.SIGINT || !strings.Contains(err.Error(), "SIGINT") {
		t.Errorf("%v", err)
	}
	if r := g.Result(); r.ExitCode != 130 || r.Signal != "SIGINT" || len(r.Workers) != 3 ||
		r.Started.IsZero() || r.Ended.Before(r.Started) {
		t.Errorf("%+v", r)
	}
	if diff := cmp.Diff(pids, g.PIDs()); diff != "" {
		t.Error(diff)
	}
	if h.events[0].Kind != JobStarted || h.events[len(h.events)-1].Kind != JobEnded {
		t.Errorf("events %+v", h.events)
	}
}

// brokenGPU is a source of GPU events that reports a fatal XID as soon as it is asked.
type brokenGPU struct{ uuid string }

func (brokenGPU) Sample(context.Context) (gpu.Sample, error) {
	return gpu.Sample{}, errors.New("it does not answer")
}

func (brokenGPU) Inventory(context.Context) (gpu.Inventory, error) {
	return gpu.Inventory{}, errors.New("it does not answer")
}

func (g brokenGPU) Subscribe(onEvent func(gpu.Event), _ func(string)) {
	onEvent(gpu.Event{Kind: gpu.EventXID, UUID: g.uuid, XID: 79, Count: 1, Time: time.Now()})
}

// TestFatalXIDBeforeStart checks that a fatal XID that is reported before the first worker is
// started stops the job of Start and of Run, and that it does not without StopOnFatalXID.
func TestFatalXIDBeforeStart(t *testing.T) {
	newJob := func(worker ...string) (*harness, plan.Plan) {
		h := newHarness(t, worker...)
		h.cfg.GPUs, h.cfg.StopOnFatalXID = brokenGPU{"GPU-1"}, true
		p := h.plan(1)
		p.Mode, p.Workers[0].Device = plan.ModeGPU, &plan.Device{UUID: "GPU-1"}
		return h, p
	}
	h, p := newJob("block")
	h.cfg.Supervisor = nil
	a, err := Start(context.Background(), p, h.cfg)
	if err != nil {
		t.Fatal(err)
	}
	if done, err := a.Join(launchertest.Patience); !done || err == nil ||
		!strings.Contains(err.Error(), "XID 79") || a.Result().ExitCode != 125 {
		t.Errorf("Start: %v, %v", done, err)
		a.Kill()
		<-a.Done()
	}
	h, p = newJob("block")
	if r := Run(context.Background(), p, h.cfg); r.ExitCode != 125 || len(r.Workers) != 0 {
		t.Errorf("Run: %+v", r)
	}
	h, p = newJob("report")
	h.cfg.StopOnFatalXID = false // the negative control
	if r := Run(context.Background(), p, h.cfg); r.ExitCode != 0 {
		t.Errorf("Run without StopOnFatalXID: %+v", r)
	}
}

// TestInheritedVariableOverridesDefault checks that a variable in Config.Environ overrides the
// plan's default for it, even if the plan was made without knowing of the variable.
func TestInheritedVariableOverridesDefault(t *testing.T) {
	for _, set := range []string{"7", ""} {
		h := newHarness(t, "report")
		h.cfg.Environ = slices.DeleteFunc(os.Environ(),
			func(e string) bool { return strings.HasPrefix(e, "OMP_NUM_THREADS=") })
		p := h.plan(1) // made without OMP_NUM_THREADS
		want := p.Workers[0].Env["OMP_NUM_THREADS"]
		if set != "" {
			h.cfg.Environ, want = append(h.cfg.Environ, "OMP_NUM_THREADS="+set), set
		}
		if r := Run(context.Background(), p, h.cfg); r.ExitCode != 0 {
			t.Fatalf("%+v", r)
		}
		if !strings.Contains(h.stdout.String(), `"OMP_NUM_THREADS":"`+want+`"`) {
			t.Errorf("OMP_NUM_THREADS is not %q: %s", want, h.stdout.String())
		}
	}
}

// TestStartFails checks that Start returns why a worker could not be started, and leaves no files.
func TestStartFails(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	h := newHarness(t, "block")
	h.cfg.Argv = []string{"/no/such/program"}
	var start *StartError
	if g, err := h.start(2); g != nil || !errors.As(err, &start) ||
		!errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%v, %v", g, err)
	}
	h.cfg.StartMethod = StartForkserver
	if g, err := h.start(2); g != nil || err == nil || !strings.Contains(err.Error(), "Subreaper") {
		t.Errorf("%v, %v", g, err)
	}
	if left, _ := filepath.Glob(filepath.Join(os.TempDir(), "*")); len(left) > 0 {
		t.Errorf("%v are left", left)
	}
}

func TestStartRefuses(t *testing.T) {
	h := newHarness(t, "block")
	if g, err := Start(context.Background(), plan.Plan{}, h.cfg); g != nil || err == nil ||
		!strings.Contains(err.Error(), "no workers") {
		t.Errorf("%v, %v", g, err)
	}
	h.cfg.Argv = nil
	if g, err := h.start(1); g != nil || err == nil ||
		!strings.Contains(err.Error(), "Argv is empty") {
		t.Errorf("%v, %v", g, err)
	}
}

// TestTwoJobs runs two jobs in one program. Only one may sweep, and it leaves the other's workers
// and their children alone.
func TestTwoJobs(t *testing.T) {
	other := newHarness(t, "leave-and-block", "block")
	h := newHarness(t, "leave-and-block", "ignore")
	h.sweeping()
	h.cfg.Grace = time.Millisecond
	first, err := other.start(2)
	if err != nil {
		t.Fatal(err)
	}
	up := make(chan struct{})
	other.whenPrinted(4, "ready", func() { close(up) })
	<-up
	g, err := h.start(2)
	if err != nil {
		t.Fatal(err)
	}
	if again, err := h.start(1); again != nil || !errors.Is(err, spawn.ErrSweeping) {
		t.Errorf("a second job that sweeps: %v, %v", again, err)
	}
	swept := make(chan struct{})
	h.whenPrinted(4, "ready", func() { g.Stop(unix.SIGTERM); close(swept) })
	<-swept
	var stopped *StoppedError
	if err := g.Wait(context.Background()); !errors.As(err, &stopped) {
		t.Error(err)
	}
	launchertest.Gone(t, pids(h.stdout.String())...)
	for _, pid := range pids(other.stdout.String()) {
		n, _ := strconv.Atoi(pid)
		if unix.Kill(n, 0) != nil {
			t.Errorf("process %s of the other job is gone", pid)
		}
	}
	if done, err := first.Join(0); done || err != nil {
		t.Errorf("the other job: %v, %v", done, err)
	}
	first.Stop(unix.SIGTERM)
	if err := first.Wait(context.Background()); !errors.As(err, &stopped) {
		t.Error(err)
	}
	for _, pid := range pids(other.stdout.String()) { // the other job does not sweep
		n, _ := strconv.Atoi(pid)
		_ = unix.Kill(n, unix.SIGKILL)
		_, _ = unix.Wait4(n, nil, 0, nil)
	}
}

// TestNoZombies checks that a job that sweeps leaves no child that has not been waited for.
func TestNoZombies(t *testing.T) {
	for range 20 {
		h := newHarness(t, "leave-and-block", "block")
		h.sweeping()
		g, err := h.start(2)
		if err != nil {
			t.Fatal(err)
		}
		ready := make(chan struct{})
		h.whenPrinted(4, "ready", func() { close(ready) })
		<-ready
		_ = unix.Kill(g.PIDs()[0], unix.SIGKILL)
		_ = g.Wait(context.Background())
		if process.HasChildren() {
			t.Fatal("a child has not been waited for")
		}
	}
}

// TestResolveWithoutArgs checks that an empty command is an error and no panic.
func TestResolveWithoutArgs(t *testing.T) {
	if argv, err := (Command{}).Resolve(); err == nil || argv != nil ||
		!strings.Contains(err.Error(), "Args is empty") {
		t.Errorf("%q %v", argv, err)
	}
}

// TestSummaryCountsWorkersNotStarted checks that the summary of a failed job has the number of
// workers that were not started.
func TestSummaryCountsWorkersNotStarted(t *testing.T) {
	var r Result
	r.ExitCode, r.NotStarted = 3, 4
	r.Workers = []report.Worker{{RootCause: true, ExitStatus: ExitStatus{Code: 3}}}
	if text := strings.Join(r.Summary(), "\n"); !strings.Contains(text,
		"4 workers were not started any more") {
		t.Errorf("%s", text)
	}
}

// TestFailureWait lets the time in which workers may leave by themselves pass.
func TestFailureWait(t *testing.T) {
	h := newHarness(t, "fail", "1", "7")
	h.cfg.FailureWait = time.Millisecond
	r := h.run(3)
	if r.ExitCode != 7 || r.Root().Rank != 1 || len(h.logged) != 2 ||
		!strings.Contains(h.logged[0], "to leave unasked") {
		t.Errorf("%+v %q", r, h.logged)
	}
	for _, w := range r.Workers {
		if w.Stopped() == (w.Rank == 1) {
			t.Errorf("%s, stopped %v", w, w.Stopped())
		}
	}
}

// TestStopWhileLeaving checks that a request to stop ends that time early.
func TestStopWhileLeaving(t *testing.T) {
	h := newHarness(t, "fail", "1", "7")
	h.cfg.FailureWait = 24 * time.Hour
	log := h.cfg.Log
	h.cfg.Log = func(line string) {
		log(line)
		if strings.Contains(line, "to leave unasked") {
			h.sup.Request(supervisor.Request{Signal: unix.SIGTERM})
		}
	}
	if r := h.run(2); r.ExitCode != 7 || r.Root().Rank != 1 || !r.Workers[1].Stopped() {
		t.Errorf("%+v", r)
	}
}

type parcel struct {
	Name  string
	Deep  map[string][]float64
	Plain *int
}

var (
	sendParcel = Register("sendParcel", func(index int, p parcel) error {
		return fmt.Errorf("%d: %s %v %d", index, p.Name, p.Deep, *p.Plain)
	})
	noArgument = Register("noArgument",
		func(index int, _ struct{}) error { panic(fmt.Sprintf("index %d", index)) })
	exitMidway = Register("exitMidway", func(int, *parcel) error { os.Exit(5); return nil })
)

func TestFunctions(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	h := newHarness(t)
	wait := func(g *Attempt, err error) error {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return g.Wait(context.Background())
	}
	var raised *RaisedError
	seven := 7
	err := wait(sendParcel.Start(context.Background(), h.plan(1), h.cfg,
		parcel{Name: "a", Deep: map[string][]float64{"x": {1.5}}, Plain: &seven}))
	if !errors.As(err, &raised) || raised.Message != "0: a map[x:[1.5]] 7" ||
		!strings.Contains(raised.Traceback,
			"returned by github.com/gpulaunch/gpulaunch/launcher.init.func") ||
		!strings.Contains(raised.Traceback, "start_test.go:") {
		t.Errorf("%#v", err)
	}
	err = wait(noArgument.Start(context.Background(), h.plan(1), h.cfg, struct{}{}))
	if !errors.As(err, &raised) || raised.Message != "panic: index 0" ||
		!strings.Contains(raised.Traceback, "start_test.go:") || raised.ExitCode != 1 {
		t.Errorf("%#v", err)
	}
	var exited *ExitedError
	if err = wait(exitMidway.Start(context.Background(), h.plan(1), h.cfg,
		&parcel{})); !errors.As(err, &exited) || exited.ExitCode != 5 {
		t.Errorf("%#v", err)
	}
	h.cfg.StartMethod = StartForkserver
	if _, err := noArgument.Start(context.Background(), h.plan(1), h.cfg, struct{}{}); err == nil ||
		!strings.Contains(err.Error(), "Python") {
		t.Error(err)
	}
	if left, _ := filepath.Glob(filepath.Join(os.TempDir(), "*")); len(left) > 0 {
		t.Errorf("%v are left", left)
	}
}

// TestRegister checks that Register panics for what could not work later.
func TestRegister(t *testing.T) {
	refused := func(what string, register func()) {
		t.Helper()
		defer func() {
			if recover() == nil {
				t.Errorf("%s is registered", what)
			}
		}()
		register()
	}
	refused("no name", func() { Register("", func(int, int) error { return nil }) })
	refused("a name twice", func() { Register("sendParcel", func(int, int) error { return nil }) })
	refused("no function", func() { Register[int]("nil", nil) })
	refused("a channel", func() { Register("channel", func(int, chan int) error { return nil }) })
	refused("a function", func() { Register("function", func(int, func()) error { return nil }) })
	refused("an interface", func() { Register("interface", func(int, any) error { return nil }) })
	refused("nothing exported",
		func() { Register("hidden", func(int, struct{ x int }) error { return nil }) })
	if functions["channel"] != nil || functions["interface"] != nil {
		t.Error("a refused function stays")
	}
}
