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

	"github.com/gpulaunch/gpulaunch/gpu/nvml/nvmltest"
	"github.com/gpulaunch/gpulaunch/launcher/internal/process"
)

func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "supervisor" {
		supervisor(os.Args[2], os.Args[3])
		return
	}
	goleak.VerifyTestMain(m)
}

// interpreter is the Python of most tests: PYTHON_EXEC or python3, and the program
// itself where that is a wrapper.
var interpreter = sync.OnceValues(func() (string, error) {
	python := os.Getenv("PYTHON_EXEC")
	if python == "" {
		python = "python3"
	}
	path, err := exec.Command(python, "-c", "import sys; print(sys.executable)").Output()
	return strings.TrimSpace(string(path)), err
})

func python(t *testing.T) string {
	t.Helper()
	path, err := interpreter()
	if err != nil {
		nvmltest.Unavailable(t, "no Python: install python3")
	}
	return path
}

// withTorch is a Python that can import PyTorch and NumPy.
var withTorch = sync.OnceValue(func() string {
	own, _ := interpreter()
	for _, path := range []string{own, "/usr/bin/python3"} {
		if exec.Command(path, "-c", "import torch, numpy").Run() == nil {
			return path
		}
	}
	return ""
})

// subreaper makes this process one until the test ends.
func subreaper(t *testing.T) {
	t.Helper()
	if err := process.BecomeSubreaper(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0); err != nil {
			t.Error(err)
		}
	})
}

// data is the absolute path of something in testdata.
func data(t *testing.T, name string) string {
	t.Helper()
	path, err := filepath.Abs(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// environ is an environment for Python with additions, which may have another
// PYTHONPATH.
func environ(t *testing.T, more ...string) []string {
	t.Helper()
	isPath := func(entry string) bool { return strings.HasPrefix(entry, "PYTHONPATH=") }
	if !slices.ContainsFunc(more, isPath) {
		more = append(more, "PYTHONPATH="+data(t, "preload"))
	}
	return append(more, "PATH="+os.Getenv("PATH"), "LC_ALL=C.UTF-8", "PYTHONDONTWRITEBYTECODE=1")
}

// modules is a template's Config with modules to preload, and a script that does
// nothing.
func modules(t *testing.T, names ...string) Config {
	t.Helper()
	return Config{
		Argv: []string{python(t), "-u", data(t, "worker.py")}, Environ: environ(t), Folder: t.TempDir(), Preload: names,
		Stdout: os.Stdout, Stderr: os.Stderr,
	}
}

// begin starts a template. It ends with the test.
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

// start has the template die with the test.
func start(cmd *exec.Cmd) error {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	runtime.LockOSThread() // for good: see PR_SET_PDEATHSIG
	return cmd.Start()
}

// usable starts a template and waits until workers can be forked.
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

// forked is a worker of a test.
type forked struct {
	t      *testing.T
	pid    int
	stdin  *os.File
	stdout *os.File
}

// fork starts a worker with pipes.
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

// wait waits for the worker as for any child.
func (w *forked) wait() process.ExitStatus {
	w.t.Helper()
	exit := reap(w.t, w.pid)
	w.pid = 0
	return exit
}

func reap(t *testing.T, pid int) process.ExitStatus {
	t.Helper()
	var status unix.WaitStatus
	if _, err := process.RetryEINTR(func() (int, error) { return unix.Wait4(pid, &status, 0, nil) }); err != nil {
		t.Fatalf("wait for %d: %v", pid, err)
	}
	return process.ExitStatusOf(status)
}

// result is what a program did.
type result struct {
	stdout, stderr string
	exit           process.ExitStatus
}

// run is what to run both ways.
type run struct {
	python  string
	args    []string
	env     []string
	stdin   string // a file
	preload []string
	cpus    []int
}

// plainly runs it as python does.
func (p run) plainly(t *testing.T) result {
	t.Helper()
	return p.collect(t, func(files [3]*os.File) int {
		// Not exec.Command, which changes the environment.
		child, err := os.StartProcess(p.python, append([]string{p.python, "-u"}, p.args...), &os.ProcAttr{
			Env: p.env, Files: files[:], Sys: &syscall.SysProcAttr{Setpgid: true},
		})
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = child.Release() }()
		return child.Pid
	})
}

// forkedly runs it as a worker of the template.
func (p run) forkedly(t *testing.T, template *Template) result {
	t.Helper()
	return p.collect(t, func(files [3]*os.File) int {
		pid, err := template.Fork(Spec{Env: p.env, CPUs: p.cpus, Files: files}, func(int) error { return nil })
		if err != nil {
			t.Fatal(err)
		}
		return pid
	})
}

// collect waits for what begin starts.
func (p run) collect(t *testing.T, begin func(files [3]*os.File) (pid int)) (r result) {
	t.Helper()
	stdout, out := pipe(t)
	stderr, errs := pipe(t)
	pid := begin([3]*os.File{p.input(t), out, errs})
	out.Close()
	errs.Close()
	var reading sync.WaitGroup
	reading.Go(func() { r.stdout = all(stdout) })
	reading.Go(func() { r.stderr = all(stderr) })
	reading.Wait()
	r.exit = reap(t, pid)
	return r
}

// input is the file, from its second line on.
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

func all(r io.Reader) string {
	text, _ := io.ReadAll(r)
	return string(text)
}
