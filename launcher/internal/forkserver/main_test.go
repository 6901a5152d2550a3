//go:build linux

package forkserver

import (
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"github.com/gpulaunch/gpulaunch/launcher/internal/process"
	"github.com/gpulaunch/gpulaunch/launcher/launchertest"
)

func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "supervisor" {
		supervisor(os.Args[2], os.Args[3])
		return
	}
	goleak.VerifyTestMain(m)
}

// data returns the absolute path of a file or folder in testdata.
func data(t *testing.T, name string) string {
	t.Helper()
	path, err := filepath.Abs(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// environ returns an environment for Python with more variables. Python finds the modules in
// testdata/preload unless one of them is PYTHONPATH.
func environ(t *testing.T, more ...string) []string {
	t.Helper()
	isPath := func(entry string) bool { return strings.HasPrefix(entry, "PYTHONPATH=") }
	if !slices.ContainsFunc(more, isPath) {
		more = append(more, "PYTHONPATH="+data(t, "preload"))
	}
	return append(more, "PATH="+os.Getenv("PATH"), "LC_ALL=C.UTF-8", "PYTHONDONTWRITEBYTECODE=1")
}

// modules returns the Config of a template process that preloads modules. The script is
// testdata/worker.py.
func modules(t *testing.T, names ...string) Config {
	t.Helper()
	return Config{
		Argv:    []string{launchertest.Python(t), "-u", data(t, "worker.py")},
		Environ: environ(t), Folder: t.TempDir(), Preload: names,
		Stdout: os.Stdout, Stderr: os.Stderr,
	}
}

// begin starts a template process, which is closed when the test ends.
func begin(t *testing.T, cfg Config) *Template {
	t.Helper()
	if cfg.Start == nil {
		cfg.Start = start
	}
	template, err := Start(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(template.Close)
	return template
}

// start starts a template process that is killed if the test's process dies.
func start(cmd *exec.Cmd) error {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	// The signal is sent when the thread ends that forked the process (PR_SET_PDEATHSIG in
	// prctl(2)), so the thread must not end before the test does.
	runtime.LockOSThread()
	return cmd.Start()
}

// usable starts a template process and waits until workers can be forked.
func usable(t *testing.T, cfg Config) *Template {
	t.Helper()
	template := begin(t, cfg)
	<-template.Ready()
	if err := template.Err(); err != nil {
		if p, ok := err.(*PreloadError); ok {
			t.Log(p.Traceback)
		}
		t.Fatal(err)
	}
	return template
}

// forked is a worker that a test has forked.
type forked struct {
	t      *testing.T
	pid    int
	stdin  *os.File
	stdout *os.File
}

// fork starts a worker with pipes. It is killed when the test ends, unless it has been waited for.
func fork(t *testing.T, template *Template, spec Spec) *forked {
	t.Helper()
	in, stdin := pipe(t)
	stdout, out := pipe(t)
	defer in.Close()
	defer out.Close()
	spec.Files = [3]*os.File{in, out, os.Stderr}
	pid, err := template.Fork(spec, func(int) error { return nil })
	if err != nil {
		t.Fatal(err)
	}
	w := &forked{t: t, pid: pid, stdin: stdin, stdout: stdout}
	t.Cleanup(func() {
		if w.pid != 0 {
			_ = unix.Kill(w.pid, unix.SIGKILL)
			w.wait()
		}
	})
	return w
}

func pipe(t *testing.T) (r, w *os.File) {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close(); w.Close() })
	return r, w
}

// wait waits for the worker, as a process waits for any child.
func (w *forked) wait() process.ExitStatus {
	w.t.Helper()
	exit := reap(w.t, w.pid)
	w.pid = 0
	return exit
}

func reap(t *testing.T, pid int) process.ExitStatus {
	t.Helper()
	var status unix.WaitStatus
	_, err := process.RetryEINTR(func() (int, error) { return unix.Wait4(pid, &status, 0, nil) })
	if err != nil {
		t.Fatalf("cannot wait for process %d: %v", pid, err)
	}
	return process.ExitStatusOf(status)
}

// result is what a program printed and how it ended.
type result struct {
	stdout, stderr string
	exit           process.ExitStatus
}

// run is a Python program that can be started directly and be forked from a template process.
type run struct {
	python  string
	args    []string
	env     []string
	stdin   string // the name of a file
	preload []string
	cpus    []int
}

// plainly starts the program directly.
func (p run) plainly(t *testing.T) result {
	t.Helper()
	return p.collect(t, func(files [3]*os.File) int {
		// exec.Command would remove duplicates from the environment.
		argv := append([]string{p.python, "-u"}, p.args...)
		child, err := os.StartProcess(p.python, argv, &os.ProcAttr{
			Env: p.env, Files: files[:], Sys: &syscall.SysProcAttr{Setpgid: true},
		})
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = child.Release() }()
		return child.Pid
	})
}

// forkedly forks the program from a template process.
func (p run) forkedly(t *testing.T, template *Template) result {
	t.Helper()
	return p.collect(t, func(files [3]*os.File) int {
		spec := Spec{Env: p.env, CPUs: p.cpus, Files: files}
		pid, err := template.Fork(spec, func(int) error { return nil })
		if err != nil {
			t.Fatal(err)
		}
		return pid
	})
}

// collect returns the result of the process that begin starts.
func (p run) collect(t *testing.T, begin func(files [3]*os.File) (pid int)) (r result) {
	t.Helper()
	stdout, out := pipe(t)
	stderr, errs := pipe(t)
	pid := begin([3]*os.File{p.input(t), out, errs})
	out.Close()
	errs.Close()
	var reading sync.WaitGroup
	reading.Go(func() { r.stdout = readAll(stdout) })
	reading.Go(func() { r.stderr = readAll(stderr) })
	reading.Wait()
	r.exit = reap(t, pid)
	return r
}

// input opens the file for the standard input, and skips the first four bytes, so that the file's
// offset differs from 0.
func (p run) input(t *testing.T) *os.File {
	t.Helper()
	f, err := os.Open(p.stdin)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	if _, err := f.Seek(4, io.SeekStart); err != nil {
		t.Fatal(err)
	}
	return f
}

func readAll(r io.Reader) string {
	text, _ := io.ReadAll(r)
	return string(text)
}
