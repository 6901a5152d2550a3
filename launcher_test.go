//go:build linux

// Package gpulaunch_test holds the tests of what spawning promises: the
// behaviours that PyTorch's test_multiprocessing_spawn.py asks for, and more, of
// each form of worker: a program that is executed, one that is forked from a
// template, and a Go function. The tests of the command are in cmd/gpulaunch.
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
)

func TestMain(m *testing.M) {
	launcher.Init()
	os.Exit(launchertest.Main(m))
}

// lockFile stands for the path of a file that workers use to await each other.
const lockFile = "LOCK"

// row is one behaviour of the suite.
type row struct {
	workers int
	// mode is what workers do, see testdata/spawn.py and behave.
	mode []string
	wait time.Duration // Config.FailureWait
	// while happens when the workers have been started.
	while func(t *testing.T, r run)
	check func(o outcome) error
	// control gives a row that check must not be content with.
	control func(r row) row
	only    string // the form that it is about
	tries   int    // how often a loaded machine may fail it, less one
	preload string
}

// outcome is what can be seen of a row's run.
type outcome struct {
	err            error
	early, late    bool // joins before and after the end
	stdout, stderr string
	exits          []launcher.Event // by the time of their observed end
	alive          []int            // pids of workers that are left
	took, gone     time.Duration    // of all, and from a worker's end to that of its children
}

// run is a row that is running.
type run struct {
	attempt *launcher.Attempt
	stdout  *launchertest.Buffer
	lock    *os.File
	outcome *outcome
}

var rows = map[string]row{
	"success": {workers: 2, mode: []string{"nothing"}, check: func(o outcome) error { return o.err },
		control: func(r row) row { r.mode = []string{"exit-one", "0", "3"}; return r }},
	"success, non-blocking": {workers: 2, mode: []string{"wait", lockFile}, while: joinWhileRunning,
		check: func(o outcome) error {
			if o.early || !o.late {
				return fmt.Errorf("joins returned %v while running and %v at the end", o.early, o.late)
			}
			return o.err
		},
		control: func(r row) row { r.mode = []string{"nothing"}; r.while = joinAtTheEnd; return r }},
	"first argument index": {workers: 3, mode: []string{"index"},
		check: func(o outcome) error {
			lines := regexp.MustCompile(`(?m)index \d rank \d$`).FindAllString(o.stdout, -1)
			slices.Sort(lines)
			if want := []string{"index 0 rank 0", "index 1 rank 1", "index 2 rank 2"}; !slices.Equal(lines, want) {
				return fmt.Errorf("workers saw %q", lines)
			}
			return o.err
		},
		control: func(r row) row { r.mode = []string{"index", "0"}; return r }},
	"exception, rank 0 only": exceptionSingle(0), "exception, rank 1 only": exceptionSingle(1),
	"exception, all": {workers: 3, mode: []string{"raise-all"},
		check: func(o outcome) error { return wantRaised(o, o.exits[0].Rank) },
		// A check of the check: the last one to exit is not the cause.
		control: func(r row) row {
			check := r.check
			r.check = func(o outcome) error { slices.Reverse(o.exits); return check(o) }
			return r
		}},
	"exception, all, rank 0 first": exceptionInTurn("0", "1"),
	"exception, all, rank 1 first": exceptionInTurn("1", "0"),
	"terminate by signal": {workers: 2, mode: []string{"abort", "0"}, check: wantAbort,
		control: func(r row) row { r.mode = []string{"exit-one", "0", "134"}; return r }},
	"terminate by exit": {workers: 2, mode: []string{"exit-one", "0", "123", lockFile},
		while: func(t *testing.T, r run) { r.stdout.Await(t, "ready"); r.lock.Close() },
		check: func(o outcome) error {
			if !strings.Contains(o.stdout, "signalled") || len(o.alive) > 0 {
				return fmt.Errorf("stdout %q, alive %v", o.stdout, o.alive)
			}
			return wantExit(o, 123)
		},
		control: func(r row) row {
			r.mode, r.wait, r.while = []string{"exit-and-leave", lockFile, "123"}, 20*time.Second, nil
			return r
		}},
	"terminate by exit, with grace": {workers: 2, mode: []string{"exit-and-leave", lockFile, "123"}, wait: 20 * time.Second,
		check: func(o outcome) error {
			if strings.Contains(o.stdout, "signalled") || !strings.Contains(o.stdout, "left by itself") || len(o.alive) > 0 {
				return fmt.Errorf("stdout %q, alive %v", o.stdout, o.alive)
			}
			return wantExit(o, 123)
		},
		control: func(r row) row { r.wait = 0; return r }},
	"success first, then exception": {workers: 2, mode: []string{"succeed-then-raise", lockFile},
		check:   func(o outcome) error { return wantRaised(o, 1) },
		control: func(r row) row { r.mode = []string{"nothing"}; return r }},
	"exception raises": {workers: 2, mode: []string{"raise-one", "0"},
		check:   func(o outcome) error { return wantTypes(o, true, false) },
		control: func(r row) row { r.mode = []string{"abort", "0"}; return r }},
	"signal raises": {workers: 2, mode: []string{"abort", "0"},
		check:   func(o outcome) error { return wantTypes(o, false, true) },
		control: func(r row) row { r.mode = []string{"raise-one", "0"}; return r }},
	"errors can be serialised, raised": {workers: 1, mode: []string{"raise-one", "0"}, check: wantRoundTrips,
		control: func(r row) row { r.mode = []string{"nothing"}; return r }},
	"errors can be serialised, exited": {workers: 1, mode: []string{"abort", "0"}, check: wantRoundTrips,
		control: func(r row) row { r.mode = []string{"nothing"}; return r }},
	"nested children, SIGTERM": nestedChildren(unix.SIGTERM),
	"nested children, SIGKILL": nestedChildren(unix.SIGKILL),
	"process exit, exited": {workers: 1, mode: []string{"exit-one", "0", "12"},
		check:   func(o outcome) error { return wantExit(o, 12) },
		control: func(r row) row { r.mode = []string{"raise-one", "0"}; return r }},
	"parallel start": {workers: 4, mode: []string{"imported", "5"}, preload: "slow_import", only: "forkserver", tries: 2,
		check: func(o outcome) error {
			if n := strings.Count(o.stdout, "imported 1\n"); o.err != nil || n != 4 || o.took > 6*time.Second {
				return fmt.Errorf("%v; %d of 4 workers say that it was imported once; all took %s; stdout:\n%s", o.err, n, o.took, o.stdout)
			}
			return nil
		},
		control: func(r row) row { r.only, r.mode = "exec", []string{"imported", "0.01"}; return r }},
}

func TestSpawn(t *testing.T) {
	for name, r := range rows {
		for _, form := range []string{"exec", "forkserver", "function"} {
			t.Run(name+"/"+form, func(t *testing.T) {
				if r.only != "" && r.only != form {
					t.Skipf("this is about %s", r.only)
				}
				o := observe(t, form, r)
				for try := 0; try < r.tries && r.check(o) != nil; try++ {
					o = observe(t, form, r)
				}
				if err := r.check(o); err != nil {
					t.Errorf("%v\nerror: %v\nstdout:\n%s\nstderr:\n%s", err, o.err, o.stdout, o.stderr)
				}
			})
			t.Run(name+"/"+form+" control", func(t *testing.T) {
				c := r.control(r)
				if c.only != "" && c.only != form {
					t.Skip("the control needs another form")
				}
				if o := observe(t, form, c); c.check(o) == nil {
					t.Errorf("the check is content with %+v", o)
				}
			})
		}
	}
}

// observe runs a row once.
func observe(t *testing.T, form string, r row) outcome {
	t.Helper()
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent(), goleak.IgnoreTopFunction("os/signal.signal_recv"), goleak.IgnoreTopFunction("os/signal.loop"))
	dir := t.TempDir()
	mode := slices.Clone(r.mode)
	var lock *os.File
	if i := slices.Index(mode, lockFile); i >= 0 {
		mode[i] = filepath.Join(dir, "lock")
		if r.while != nil {
			lock = launchertest.HoldLock(mode[i], 0)
		}
	}
	var stdout, stderr launchertest.Buffer
	var mu sync.Mutex
	o := outcome{}
	cfg := launcher.Config{
		Environ: append(os.Environ(), "SLOW_IMPORT_COUNT="+filepath.Join(dir, "count")),
		Grace:   launchertest.Patience, FailureWait: r.wait, Subreaper: true,
		Output: launcher.OutputPrefix, Stdout: &stdout, Stderr: &stderr,
		Observe: func(e launcher.Event) {
			mu.Lock()
			defer mu.Unlock()
			if e.Kind == launcher.WorkerExited {
				o.exits = append(o.exits, e)
				slices.SortFunc(o.exits, func(a, b launcher.Event) int { return a.Time.Compare(b.Time) })
			}
		},
	}
	if mode[0] == "imported" {
		cfg.Environ, mode = append(cfg.Environ, "SLOW_IMPORT_SECONDS="+mode[1]), mode[:1]
	}
	began := time.Now()
	g, err := startForm(t, form, cpuPlan(t, r.workers), cfg, r.preload, mode)
	if err != nil {
		t.Fatal(err)
	}
	if r.while != nil {
		r.while(t, run{attempt: g, stdout: &stdout, lock: lock, outcome: &o})
	}
	o.err = g.Wait(context.Background())
	o.took = time.Since(began)
	first, err1 := g.Join(0)
	second, err2 := g.Join(time.Hour)
	o.late = first && second && errors.Is(err1, o.err) && errors.Is(err2, o.err)
	for _, pid := range g.PIDs() {
		if unix.Kill(pid, 0) == nil {
			o.alive = append(o.alive, pid)
		}
	}
	o.stdout, o.stderr = stdout.String(), stderr.String()
	return o
}

// startForm starts workers that do what mode says.
func startForm(t *testing.T, form string, p plan.Plan, cfg launcher.Config, preload string, mode []string) (*launcher.Attempt, error) {
	t.Helper()
	if form == "function" {
		return behaves.Start(context.Background(), p, cfg, mode)
	}
	cfg.Argv = append([]string{launchertest.Python(t), "-u", "launcher/testdata/spawn.py"}, mode...)
	if form == "forkserver" {
		cfg.StartMethod = launcher.StartForkserver
		if preload != "" {
			cfg.Preload = []string{preload}
		}
	}
	return launcher.Start(context.Background(), p, cfg)
}

// cpuPlan is a plan for workers without GPUs on this machine.
func cpuPlan(t testing.TB, workers int) plan.Plan {
	t.Helper()
	none := gpu.Inventory{}
	m, err := machine.Read("", none, none.Visible("", false), plan.Options{Affinity: affinity.Policy{Mode: affinity.ModeNone}})
	if err != nil {
		t.Fatal(err)
	}
	p, err := plan.New(m, plan.Options{Workers: plan.Workers(workers), Affinity: affinity.Policy{Mode: affinity.ModeNone}})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// wantExit wants a worker that left no error file and exited with code.
func wantExit(o outcome, code int) error {
	var e *launcher.ExitedError
	if !errors.As(o.err, &e) || e.ExitCode != code || e.Signal != "" || e.Rank != 0 {
		return fmt.Errorf("want rank 0's exit code %d, have %#v", code, o.err)
	}
	return nil
}

func wantAbort(o outcome) error {
	var e *launcher.ExitedError
	if !errors.As(o.err, &e) || e.ExitCode != 134 || e.Signal != "SIGABRT" || !strings.Contains(e.Error(), "terminated with signal SIGABRT") {
		return fmt.Errorf("want a SIGABRT, have %#v", o.err)
	}
	return nil
}

// wantRaised wants the exception of a rank, and nobody left.
func wantRaised(o outcome, rank int) error {
	var e *launcher.RaisedError
	text := fmt.Sprintf("ValueError: legitimate exception from process %d", rank)
	if !errors.As(o.err, &e) || e.Rank != rank || e.LocalRank != rank || e.ExitCode != 1 || !strings.HasSuffix(e.Message, text) {
		return fmt.Errorf("want rank %d's exception, have %#v", rank, o.err)
	}
	host, _ := os.Hostname()
	if e.PID == 0 || e.Host != host || time.Since(e.Time) > time.Hour || !regexp.MustCompile("in fail|behave").MatchString(e.Traceback) {
		return fmt.Errorf("it says too little of itself: %#v", e)
	}
	if lines := strings.Split(strings.TrimSpace(e.Traceback), "\n"); strings.HasPrefix(e.Traceback, "Traceback") && lines[len(lines)-1] != text {
		return fmt.Errorf("the traceback ends with %q", lines[len(lines)-1])
	}
	if len(o.alive) > 0 {
		return fmt.Errorf("processes %v are left", o.alive)
	}
	return nil
}

func wantTypes(o outcome, raised, exited bool) error {
	var r *launcher.RaisedError
	var x *launcher.ExitedError
	if errors.As(o.err, &r) != raised || errors.As(fmt.Errorf("wrapped: %w", o.err), &x) != exited {
		return fmt.Errorf("have %#v", o.err)
	}
	return nil
}

// wantRoundTrips wants the error to be the same after JSON and after gob.
func wantRoundTrips(o outcome) error {
	switch e := o.err.(type) {
	case *launcher.RaisedError:
		return roundTrips(e)
	case *launcher.ExitedError:
		return roundTrips(e)
	}
	return fmt.Errorf("have %#v", o.err)
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
	mode := func(r int) []string { return []string{"raise-one", strconv.Itoa(r)} }
	return row{workers: 2, mode: mode(rank),
		check:   func(o outcome) error { return wantRaised(o, rank) },
		control: func(r row) row { r.mode = mode(1 - rank); return r }}
}

func exceptionInTurn(first, second string) row {
	rank, _ := strconv.Atoi(first)
	return row{workers: 2, mode: []string{"raise-in-turn", first, lockFile},
		check:   func(o outcome) error { return wantRaised(o, rank) },
		control: func(r row) row { r.mode = []string{"raise-in-turn", second, lockFile}; return r }}
}

// nestedChildren has a worker ended whose own children are in sessions of their
// own, so that no signal to its group reaches them.
func nestedChildren(sig syscall.Signal) row {
	return row{workers: 1, mode: []string{"nested"},
		while: func(t *testing.T, r run) {
			var children [2]int
			if _, err := fmt.Sscanf(r.stdout.Await(t, "children")[len("[0] "):], "children %d %d", &children[0], &children[1]); err != nil {
				t.Fatal(err)
			}
			if err := unix.Kill(r.attempt.PIDs()[0], sig); err != nil {
				t.Fatal(err)
			}
			r.outcome.gone = untilGone(children[:])
		},
		check: func(o outcome) error {
			var e *launcher.ExitedError
			if !errors.As(o.err, &e) || e.Signal != unix.SignalName(sig) || o.gone > time.Second {
				return fmt.Errorf("%v; its children were gone after %s", o.err, o.gone)
			}
			return nil
		},
		control: func(r row) row { r.mode = []string{"nested", "deaf"}; return r }}
}

// joinWhileRunning joins before it lets the workers go on.
func joinWhileRunning(t *testing.T, r run) {
	for _, timeout := range []time.Duration{0, 10 * time.Millisecond} {
		done, err := r.attempt.Join(timeout)
		if err != nil {
			t.Error(err)
		}
		r.outcome.early = r.outcome.early || done
	}
	r.lock.Close()
}

func joinAtTheEnd(t *testing.T, r run) {
	_ = r.attempt.Wait(context.Background())
	joinWhileRunning(t, r)
}

// untilGone measures how long processes are there, and ends those that stay.
func untilGone(pids []int) time.Duration {
	begin := time.Now()
	for time.Since(begin) < 4*time.Second {
		if !slices.ContainsFunc(pids, func(pid int) bool { return unix.Kill(pid, 0) == nil }) {
			return time.Since(begin)
		}
		<-time.After(time.Millisecond)
	}
	for _, pid := range pids {
		_ = unix.Kill(pid, unix.SIGKILL)
	}
	return time.Since(begin)
}

// behaves is testdata/spawn.py as a Go function.
var behaves = launcher.Register("behave", behave)

func behave(index int, mode []string) error {
	me := strconv.Itoa(index)
	switch mode[0] {
	case "index":
		fmt.Printf("index %s rank %s\n", append(mode[1:], me)[0], os.Getenv("RANK"))
	case "wait":
		launchertest.AwaitEnd(mode[1])
	case "raise-one":
		if mode[1] == me {
			return fail(index)
		}
		announce()
	case "raise-all":
		signal.Ignore(unix.SIGTERM)
		<-time.After(rand.N(50 * time.Millisecond))
		panic(fail(index))
	case "raise-in-turn":
		signal.Ignore(unix.SIGTERM)
		if mode[1] == me {
			holding = launchertest.HoldLock(mode[2], os.Getpid())
		} else {
			launchertest.AwaitEnd(mode[2])
		}
		return fail(index)
	case "abort":
		if mode[1] == me {
			_ = unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{})
			debug.SetTraceback("crash") // the runtime then dies of the signal
			_ = unix.Kill(os.Getpid(), unix.SIGABRT)
		}
		announce()
	case "exit-one":
		if mode[1] == me {
			if len(mode) > 3 {
				launchertest.AwaitEnd(mode[3])
			}
			code, _ := strconv.Atoi(mode[2])
			os.Exit(code)
		}
		sayWhenSignalled()
		announce()
	case "exit-and-leave":
		sayWhenSignalled()
		if index == 0 {
			holding = launchertest.HoldLock(mode[1], os.Getpid())
			launchertest.AwaitFile(mode[1] + ".ready") // or the other would not be started any more
			code, _ := strconv.Atoi(mode[2])
			os.Exit(code)
		}
		_ = os.WriteFile(mode[1]+".ready", []byte("x"), 0o600)
		launchertest.AwaitEnd(mode[1])
		<-time.After(100 * time.Millisecond)
		fmt.Println("left by itself")
	case "succeed-then-raise":
		if index > 0 {
			launchertest.AwaitEnd(mode[1])
			return fail(index)
		}
		holding = launchertest.HoldLock(mode[1], os.Getpid())
	case "nested":
		what := "block"
		if len(mode) > 1 {
			what = "ignore"
		}
		fmt.Println("children", child(what), child(what))
		announce()
	}
	return nil
}

// holding is released when the process ends.
var holding *os.File

func fail(index int) error {
	return fmt.Errorf("ValueError: legitimate exception from process %d", index)
}

// announce says that the worker is ready, and blocks.
func announce() {
	fmt.Println("ready", os.Getpid())
	for {
		_ = unix.Pause()
	}
}

func sayWhenSignalled() {
	c := make(chan os.Signal, 1)
	signal.Notify(c, unix.SIGTERM)
	go func() { <-c; fmt.Println("signalled"); os.Exit(0) }()
}

// child starts a process in a session of its own, which says when it is ready.
func child(what string) int {
	c := exec.Command("/proc/self/exe", launchertest.Worker(what)[2:]...)
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
		t.Fatal("the README shows no go run ./cmd/gpulaunch run")
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
			t.Errorf("no %q in what it prints", want)
		}
	}
}
