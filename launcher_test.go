//go:build linux

// Package gpulaunch_test tests what package launcher promises about spawning. It checks the
// behaviours that PyTorch's test_multiprocessing_spawn.py checks, and some more, for each form of
// worker: a program that is executed, a program that is forked from a template process, and a Go
// function. The tests of the command are in cmd/gpulaunch.
package gpulaunch_test

import (
	"bytes"
	"context"
	"encoding/gob"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"reflect"
	"regexp"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"github.com/gpulaunch/gpulaunch/affinity"
	"github.com/gpulaunch/gpulaunch/gpu"
	"github.com/gpulaunch/gpulaunch/launcher"
	"github.com/gpulaunch/gpulaunch/launcher/launchertest"
	"github.com/gpulaunch/gpulaunch/launcher/machine"
	"github.com/gpulaunch/gpulaunch/launcher/plan"
	"github.com/gpulaunch/gpulaunch/launcher/plan/plantest"
)

func TestMain(m *testing.M) {
	launcher.Init()
	os.Exit(launchertest.Main(m))
}

// lockFile stands for the path of a file with which workers wait for each other.
const lockFile = "LOCK"

// row is one behaviour that is checked.
type row struct {
	workers int
	// mode is what the workers do: see behaviours and launcher/testdata/spawn.py.
	mode []string
	wait time.Duration // Config.FailureWait
	// during is called after the workers have been started, if it is not nil.
	during func(t *testing.T, r run)
	check  func(o outcome) error
	// control returns a row for which check must return an error.
	control func(r row) row
	only    string // the only form of worker that has this behaviour, or ""
	retries int    // how often it may fail on a loaded machine
	preload string
}

// outcome is what a row has led to.
type outcome struct {
	err                     error
	joinedEarly, joinedLate bool // whether Join reported the end before and after it
	stdout, stderr          string
	exits                   []launcher.Event // in the order of the times of the exits
	alive                   []int            // the pids of workers that are left
	took                    time.Duration    // of everything
	childrenTook            time.Duration    // from the end of a worker to the end of its children
}

// run is a row that is being run.
type run struct {
	attempt *launcher.Attempt
	stdout  *launchertest.Buffer
	lock    *os.File
	outcome *outcome
}

var rows = map[string]row{
	"success": {
		workers: 2, mode: []string{"nothing"},
		check:   func(o outcome) error { return o.err },
		control: withMode("exit-one", "0", "3"),
	},
	"success, non-blocking": {
		workers: 2, mode: []string{"wait", lockFile}, during: joinWhileRunning,
		check: func(o outcome) error {
			if o.joinedEarly || !o.joinedLate {
				return fmt.Errorf("Join returned %v while the workers ran and %v after their end",
					o.joinedEarly, o.joinedLate)
			}
			return o.err
		},
		control: func(r row) row {
			r.mode, r.during = []string{"nothing"}, joinAtTheEnd
			return r
		},
	},
	"first argument index": {
		workers: 3, mode: []string{"index"},
		check: func(o outcome) error {
			lines := regexp.MustCompile(`(?m)index \d rank \d$`).FindAllString(o.stdout, -1)
			slices.Sort(lines)
			want := []string{"index 0 rank 0", "index 1 rank 1", "index 2 rank 2"}
			if !slices.Equal(lines, want) {
				return fmt.Errorf("the workers saw %q, want %q", lines, want)
			}
			return o.err
		},
		control: withMode("index", "0"),
	},
	"exception, rank 0 only": exceptionSingle(0),
	"exception, rank 1 only": exceptionSingle(1),
	"exception, all": {
		workers: 3, mode: []string{"raise-all"},
		check: func(o outcome) error { return wantRaised(o, o.exits[0].Rank) },
		// This changes the check and not the row: the last worker that exits is not the cause.
		control: func(r row) row {
			check := r.check
			r.check = func(o outcome) error { slices.Reverse(o.exits); return check(o) }
			return r
		},
	},
	"exception, all, rank 0 first": exceptionInTurn("0", "1"),
	"exception, all, rank 1 first": exceptionInTurn("1", "0"),
	"terminate by signal": {
		workers: 2, mode: []string{"abort", "0"}, check: wantAbort,
		control: withMode("exit-one", "0", "134"),
	},
	"terminate by exit": {
		workers: 2, mode: []string{"exit-one", "0", "123", lockFile},
		during: func(t *testing.T, r run) { r.stdout.Await(t, "ready"); r.lock.Close() },
		check: func(o outcome) error {
			if !strings.Contains(o.stdout, "signalled") || len(o.alive) > 0 {
				return fmt.Errorf("want the other worker signalled; alive: %v", o.alive)
			}
			return wantExit(o, 123)
		},
		control: func(r row) row {
			r.mode = []string{"exit-and-leave", lockFile, "123"}
			r.wait, r.during = 20*time.Second, nil
			return r
		},
	},
	"terminate by exit, with grace": {
		workers: 2, mode: []string{"exit-and-leave", lockFile, "123"}, wait: 20 * time.Second,
		check: func(o outcome) error {
			if strings.Contains(o.stdout, "signalled") ||
				!strings.Contains(o.stdout, "left by itself") || len(o.alive) > 0 {
				return fmt.Errorf("want the other worker to exit by itself; alive: %v", o.alive)
			}
			return wantExit(o, 123)
		},
		control: func(r row) row { r.wait = 0; return r },
	},
	"success first, then exception": {
		workers: 2, mode: []string{"succeed-then-raise", lockFile},
		check:   func(o outcome) error { return wantRaised(o, 1) },
		control: withMode("nothing"),
	},
	"exception raises": {
		workers: 2, mode: []string{"raise-one", "0"},
		check:   wantRaisedError,
		control: withMode("abort", "0"),
	},
	"signal raises": {
		workers: 2, mode: []string{"abort", "0"},
		check:   wantExitedError,
		control: withMode("raise-one", "0"),
	},
	"errors can be serialised, raised": {
		workers: 1, mode: []string{"raise-one", "0"}, check: wantRoundTrips,
		control: withMode("nothing"),
	},
	"errors can be serialised, exited": {
		workers: 1, mode: []string{"abort", "0"}, check: wantRoundTrips,
		control: withMode("nothing"),
	},
	"nested children, SIGTERM": nestedChildren(unix.SIGTERM),
	"nested children, SIGKILL": nestedChildren(unix.SIGKILL),
	"process exit, exited": {
		workers: 1, mode: []string{"exit-one", "0", "12"},
		check:   func(o outcome) error { return wantExit(o, 12) },
		control: withMode("raise-one", "0"),
	},
	"parallel start": {
		workers: 4, mode: []string{"imported", "5"}, preload: "slow_import",
		only: "forkserver", retries: 2,
		check: func(o outcome) error {
			n := strings.Count(o.stdout, "imported 1\n")
			if o.err != nil || n != 4 || o.took > 6*time.Second {
				return fmt.Errorf("%d of 4 workers say that the module was imported once, "+
					"and it took %s, want at most 6s", n, o.took)
			}
			return nil
		},
		control: func(r row) row {
			r.only, r.mode = "exec", []string{"imported", "0.01"}
			return r
		},
	},
}

// withMode returns a control whose workers do something else.
func withMode(mode ...string) func(r row) row {
	return func(r row) row { r.mode = mode; return r }
}

func TestSpawn(t *testing.T) {
	for name, r := range rows {
		for _, form := range []string{"exec", "forkserver", "function"} {
			if r.only == "" || r.only == form {
				t.Run(name+"/"+form, func(t *testing.T) { r.test(t, form) })
			}
			c := r.control(r)
			if c.only == "" || c.only == form {
				t.Run(name+"/"+form+" control", func(t *testing.T) {
					if o := observe(t, form, c); c.check(o) == nil {
						t.Errorf("the check does not fail for %+v", o)
					}
				})
			}
		}
	}
}

// test checks that workers of a form behave as the row says.
func (r row) test(t *testing.T, form string) {
	t.Helper()
	o := observe(t, form, r)
	for try := 0; try < r.retries && r.check(o) != nil; try++ {
		o = observe(t, form, r)
	}
	if err := r.check(o); err != nil {
		t.Errorf("%v\nerror: %v\nstdout:\n%s\nstderr:\n%s", err, o.err, o.stdout, o.stderr)
	}
}

// observe runs a row once.
func observe(t *testing.T, form string, r row) outcome {
	t.Helper()
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent(),
		goleak.IgnoreTopFunction("os/signal.signal_recv"),
		goleak.IgnoreTopFunction("os/signal.loop"))
	dir := t.TempDir()
	mode := slices.Clone(r.mode)
	var lock *os.File
	if i := slices.Index(mode, lockFile); i >= 0 {
		mode[i] = filepath.Join(dir, "lock")
		if r.during != nil {
			lock = launchertest.HoldLock(mode[i], 0)
		}
	}
	var stdout, stderr launchertest.Buffer
	var exits exitRecorder
	cfg := launcher.Config{
		Environ: append(os.Environ(), "SLOW_IMPORT_COUNT="+filepath.Join(dir, "count")),
		Grace:   launchertest.Patience, FailureWait: r.wait, Subreaper: true,
		Output: launcher.OutputPrefix, Stdout: &stdout, Stderr: &stderr,
		Observe: exits.observe,
	}
	if mode[0] == "imported" {
		cfg.Environ, mode = append(cfg.Environ, "SLOW_IMPORT_SECONDS="+mode[1]), mode[:1]
	}
	began := time.Now()
	g, err := startForm(t, form, cpuPlan(t, r.workers), cfg, r.preload, mode)
	if err != nil {
		t.Fatal(err)
	}
	o := outcome{}
	if r.during != nil {
		r.during(t, run{attempt: g, stdout: &stdout, lock: lock, outcome: &o})
	}
	o.err = g.Wait(context.Background())
	o.took = time.Since(began)
	first, err1 := g.Join(0)
	second, err2 := g.Join(time.Hour)
	o.joinedLate = first && second && errors.Is(err1, o.err) && errors.Is(err2, o.err)
	for _, pid := range g.PIDs() {
		if unix.Kill(pid, 0) == nil {
			o.alive = append(o.alive, pid)
		}
	}
	o.exits, o.stdout, o.stderr = exits.sorted(), stdout.String(), stderr.String()
	return o
}

// exitRecorder collects the events of workers that have exited.
type exitRecorder struct {
	mu   sync.Mutex
	list []launcher.Event
}

func (x *exitRecorder) observe(e launcher.Event) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if e.Kind == launcher.WorkerExited {
		x.list = append(x.list, e)
	}
}

// sorted returns the events in the order of their times.
func (x *exitRecorder) sorted() []launcher.Event {
	x.mu.Lock()
	defer x.mu.Unlock()
	slices.SortStableFunc(x.list, func(a, b launcher.Event) int { return a.Time.Compare(b.Time) })
	return x.list
}

// startForm starts workers of a form that do what mode says.
func startForm(
	t *testing.T, form string, p plan.Plan, cfg launcher.Config, preload string, mode []string,
) (*launcher.Attempt, error) {
	t.Helper()
	if form == "function" {
		return behaves.Start(context.Background(), p, cfg, mode)
	}
	cfg.Argv = append([]string{
		launchertest.Python(t), "-u", "launcher/testdata/spawn.py",
	}, mode...)
	if form == "forkserver" {
		cfg.StartMethod = launcher.StartForkserver
		if preload != "" {
			cfg.Preload = []string{preload}
		}
	}
	return launcher.Start(context.Background(), p, cfg)
}

// cpuPlan returns a plan for workers without GPUs on this machine.
func cpuPlan(t testing.TB, workers int) plan.Plan {
	t.Helper()
	none := gpu.Inventory{}
	options := plan.Options{
		Workers: plan.Workers(workers), Affinity: affinity.Policy{Mode: affinity.ModeNone},
	}
	m, err := machine.Read("", none, none.Visible("", false), options)
	if err != nil {
		t.Fatal(err)
	}
	return plantest.Plan(t, m, options)
}

// wantExit wants rank 0 to have exited with a code, without an error file.
func wantExit(o outcome, code int) error {
	var e *launcher.ExitedError
	if !errors.As(o.err, &e) || e.ExitCode != code || e.Signal != "" || e.Rank != 0 {
		return fmt.Errorf("want rank 0's exit code %d, have %#v", code, o.err)
	}
	return nil
}

// wantAbort wants SIGABRT to have ended a worker.
func wantAbort(o outcome) error {
	var e *launcher.ExitedError
	if !errors.As(o.err, &e) || e.ExitCode != 134 || e.Signal != "SIGABRT" ||
		!strings.Contains(e.Error(), "terminated with signal SIGABRT") {
		return fmt.Errorf("want a SIGABRT, have %#v", o.err)
	}
	return nil
}

// wantRaised wants the exception of a rank as the error, and no worker to be left.
func wantRaised(o outcome, rank int) error {
	var e *launcher.RaisedError
	text := fmt.Sprintf("ValueError: legitimate exception from process %d", rank)
	if !errors.As(o.err, &e) || e.Rank != rank || e.LocalRank != rank || e.ExitCode != 1 ||
		!strings.HasSuffix(e.Message, text) {
		return fmt.Errorf("want rank %d's exception, have %#v", rank, o.err)
	}
	host, _ := os.Hostname()
	if e.PID == 0 || e.Host != host || time.Since(e.Time) > time.Hour ||
		!regexp.MustCompile("in fail|behave").MatchString(e.Traceback) {
		return fmt.Errorf("want a pid, this host, a recent time and a traceback, have %#v", e)
	}
	lines := strings.Split(strings.TrimSpace(e.Traceback), "\n")
	if strings.HasPrefix(e.Traceback, "Traceback") && lines[len(lines)-1] != text {
		return fmt.Errorf("the traceback ends with %q, want %q", lines[len(lines)-1], text)
	}
	if len(o.alive) > 0 {
		return fmt.Errorf("the workers %v are still alive", o.alive)
	}
	return nil
}

// wantRaisedError wants the error to be a RaisedError and not an ExitedError.
func wantRaisedError(o outcome) error {
	var r *launcher.RaisedError
	var x *launcher.ExitedError
	if !errors.As(o.err, &r) || errors.As(fmt.Errorf("wrapped: %w", o.err), &x) {
		return fmt.Errorf("want a RaisedError, have %#v", o.err)
	}
	return nil
}

// wantExitedError wants the error to be an ExitedError and not a RaisedError.
func wantExitedError(o outcome) error {
	var r *launcher.RaisedError
	var x *launcher.ExitedError
	if errors.As(o.err, &r) || !errors.As(fmt.Errorf("wrapped: %w", o.err), &x) {
		return fmt.Errorf("want an ExitedError, have %#v", o.err)
	}
	return nil
}

// wantRoundTrips wants the error to be the same after it was encoded with JSON and with gob.
func wantRoundTrips(o outcome) error {
	switch e := o.err.(type) {
	case *launcher.RaisedError:
		return roundTrips(e)
	case *launcher.ExitedError:
		return roundTrips(e)
	}
	return fmt.Errorf("want a RaisedError or an ExitedError, have %#v", o.err)
}

func roundTrips[E any](e *E) error {
	var fromJSON, fromGob E
	text, err := json.Marshal(e)
	if err == nil {
		err = json.Unmarshal(text, &fromJSON)
	}
	var data bytes.Buffer
	if err == nil {
		err = gob.NewEncoder(&data).Encode(e)
	}
	if err == nil {
		err = gob.NewDecoder(&data).Decode(&fromGob)
	}
	if err != nil {
		return err
	}
	if !reflect.DeepEqual(*e, fromJSON) || !reflect.DeepEqual(*e, fromGob) {
		return fmt.Errorf("%#v, after JSON %#v, after gob %#v", *e, fromJSON, fromGob)
	}
	return nil
}

func exceptionSingle(rank int) row {
	return row{
		workers: 2, mode: []string{"raise-one", strconv.Itoa(rank)},
		check:   func(o outcome) error { return wantRaised(o, rank) },
		control: withMode("raise-one", strconv.Itoa(1-rank)),
	}
}

// exceptionInTurn returns a row in which both workers raise, the second one after the end of the
// first one.
func exceptionInTurn(first, second string) row {
	rank, _ := strconv.Atoi(first)
	return row{
		workers: 2, mode: []string{"raise-in-turn", first, lockFile},
		check:   func(o outcome) error { return wantRaised(o, rank) },
		control: withMode("raise-in-turn", second, lockFile),
	}
}

// nestedChildren returns a row in which a worker is ended that has children in sessions of their
// own. No signal to the worker's process group reaches them.
func nestedChildren(sig syscall.Signal) row {
	return row{
		workers: 1, mode: []string{"nested"},
		during: func(t *testing.T, r run) {
			line := r.stdout.Await(t, "children")
			var children [2]int
			_, err := fmt.Sscanf(line, "[0] children %d %d", &children[0], &children[1])
			if err != nil {
				t.Fatalf("the worker printed %q, want two pids (%v)", line, err)
			}
			if err := unix.Kill(r.attempt.PIDs()[0], sig); err != nil {
				t.Fatal(err)
			}
			r.outcome.childrenTook = untilGone(children[:])
		},
		check: func(o outcome) error {
			var e *launcher.ExitedError
			if !errors.As(o.err, &e) || e.Signal != unix.SignalName(sig) ||
				o.childrenTook > time.Second {
				return fmt.Errorf("want %s and children that end within 1s, "+
					"have %v and %s", unix.SignalName(sig), o.err, o.childrenTook)
			}
			return nil
		},
		control: withMode("nested", "deaf"),
	}
}

// joinWhileRunning calls Join before it lets the workers end.
func joinWhileRunning(t *testing.T, r run) {
	for _, timeout := range []time.Duration{0, 10 * time.Millisecond} {
		done, err := r.attempt.Join(timeout)
		if err != nil {
			t.Errorf("Join(%s) returns the error %v", timeout, err)
		}
		r.outcome.joinedEarly = r.outcome.joinedEarly || done
	}
	r.lock.Close()
}

func joinAtTheEnd(t *testing.T, r run) {
	_ = r.attempt.Wait(context.Background())
	joinWhileRunning(t, r)
}

// untilGone returns how long processes still exist, and kills them after four seconds.
func untilGone(pids []int) time.Duration {
	begin := time.Now()
	err := launchertest.Retry(4*time.Second, time.Millisecond, func() error {
		for _, pid := range pids {
			if unix.Kill(pid, 0) == nil {
				return fmt.Errorf("process %d still exists", pid)
			}
		}
		return nil
	})
	if err != nil {
		for _, pid := range pids {
			_ = unix.Kill(pid, unix.SIGKILL)
		}
	}
	return time.Since(begin)
}

// behaves does what launcher/testdata/spawn.py does as a Go function.
var behaves = launcher.Register("behave", behave)

func behave(index int, mode []string) error {
	if b, ok := behaviours[mode[0]]; ok {
		return b(index, mode[1:])
	}
	return nil
}

// behaviours are what workers do, by the first word of the mode. The other words are the arguments.
var behaviours = map[string]func(index int, args []string) error{
	"index": func(index int, args []string) error {
		first := append(args, strconv.Itoa(index))[0]
		fmt.Printf("index %s rank %s\n", first, os.Getenv("RANK"))
		return nil
	},
	"wait": func(_ int, args []string) error {
		launchertest.AwaitEnd(args[0])
		return nil
	},
	"raise-one": func(index int, args []string) error {
		if args[0] != strconv.Itoa(index) {
			announceAndBlock()
		}
		return fail(index)
	},
	"raise-all": func(index int, _ []string) error {
		signal.Ignore(unix.SIGTERM)
		<-time.After(rand.N(50 * time.Millisecond))
		panic(fail(index))
	},
	"raise-in-turn":      raiseInTurn,
	"abort":              abort,
	"exit-one":           exitOne,
	"exit-and-leave":     exitAndLeave,
	"succeed-then-raise": succeedThenRaise,
	"nested": func(_ int, args []string) error {
		program := "block"
		if len(args) > 0 {
			program = "ignore"
		}
		fmt.Println("children", startChild(program), startChild(program))
		announceAndBlock()
		return nil
	},
}

// raiseInTurn has the worker with the index args[0] fail first.
func raiseInTurn(index int, args []string) error {
	signal.Ignore(unix.SIGTERM)
	if args[0] == strconv.Itoa(index) {
		heldLock = launchertest.HoldLock(args[1], os.Getpid())
	} else {
		launchertest.AwaitEnd(args[1])
	}
	return fail(index)
}

// abort has the worker with the index args[0] die of SIGABRT.
func abort(index int, args []string) error {
	if args[0] == strconv.Itoa(index) {
		_ = unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{})
		debug.SetTraceback("crash") // otherwise the Go runtime exits with a code
		_ = unix.Kill(os.Getpid(), unix.SIGABRT)
	}
	announceAndBlock()
	return nil
}

// exitOne has the worker with the index args[0] exit with the code args[1]. If there is a third
// argument, it first waits for that lock.
func exitOne(index int, args []string) error {
	if args[0] == strconv.Itoa(index) {
		if len(args) > 2 {
			launchertest.AwaitEnd(args[2])
		}
		code, _ := strconv.Atoi(args[1])
		os.Exit(code)
	}
	sayWhenSignalled()
	announceAndBlock()
	return nil
}

// exitAndLeave has worker 0 exit with the code args[1], and the others exit by themselves after
// that.
func exitAndLeave(index int, args []string) error {
	sayWhenSignalled()
	ready := args[0] + ".ready"
	if index == 0 {
		heldLock = launchertest.HoldLock(args[0], os.Getpid())
		// After a failure, the launcher would not start the other worker any more.
		launchertest.AwaitFile(ready)
		code, _ := strconv.Atoi(args[1])
		os.Exit(code)
	}
	_ = os.WriteFile(ready, []byte("x"), 0o600)
	launchertest.AwaitEnd(args[0])
	<-time.After(100 * time.Millisecond)
	fmt.Println("left by itself")
	return nil
}

// succeedThenRaise has worker 0 succeed, and the others fail after that.
func succeedThenRaise(index int, args []string) error {
	if index > 0 {
		launchertest.AwaitEnd(args[0])
		return fail(index)
	}
	heldLock = launchertest.HoldLock(args[0], os.Getpid())
	return nil
}

// heldLock keeps a file open until the process ends.
var heldLock *os.File

func fail(index int) error {
	return fmt.Errorf("ValueError: legitimate exception from process %d", index)
}

// announceAndBlock says that the worker is ready, and does not return.
func announceAndBlock() {
	fmt.Println("ready", os.Getpid())
	for {
		_ = unix.Pause()
	}
}

// sayWhenSignalled makes the worker print a line and exit at SIGTERM.
func sayWhenSignalled() {
	c := make(chan os.Signal, 1)
	signal.Notify(c, unix.SIGTERM)
	go func() { <-c; fmt.Println("signalled"); os.Exit(0) }()
}

// startChild starts a program of launchertest's workers in a session of its own, and returns its
// pid when it is ready.
func startChild(program string) int {
	c := exec.Command("/proc/self/exe", launchertest.WorkerArgs(program)...)
	c.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	out, err := c.StdoutPipe()
	if err == nil {
		err = c.Start()
	}
	if err == nil {
		_, err = out.Read(make([]byte, 1))
	}
	if err != nil {
		panic(err)
	}
	return c.Process.Pid
}

// TestREADME runs the command that the README shows first.
func TestREADME(t *testing.T) {
	text, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	m := regexp.MustCompile("(?m)^    (go run ./cmd/gpulaunch run .*)$").FindSubmatch(text)
	if m == nil {
		t.Fatal("the README contains no command go run ./cmd/gpulaunch run")
	}
	cmd := exec.Command("sh", "-c", string(m[1]))
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	out, err := cmd.CombinedOutput()
	t.Logf("%s\n%s", m[1], out)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`rank 0 of `, `device `, "Cpus_allowed_list:\t"} {
		if !strings.Contains(string(out), want) {
			t.Errorf("the command does not print %q", want)
		}
	}
}
