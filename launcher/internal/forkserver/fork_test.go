//go:build linux

package forkserver

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/gpulaunch/gpulaunch/gpu/nvml/nvmltest"
	"github.com/gpulaunch/gpulaunch/launcher/internal/process"
)

// null gives files for a worker of which nothing is read.
func null(t *testing.T) (files [3]*os.File) {
	t.Helper()
	f, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return [3]*os.File{f, f, f}
}

// TestManyWorkers also counts descriptors on both sides, and the template's children.
func TestManyWorkers(t *testing.T) {
	subreaper(t)
	template := usable(t, modules(t, "json"))
	pid := template.Facts().PID
	files := null(t)
	count := func() (n [2]int) {
		for i, p := range []int{os.Getpid(), pid} {
			list, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", p))
			if err != nil {
				t.Fatal(err)
			}
			n[i] = len(list)
		}
		return n
	}
	before := [2]int{}
	for i := range 50 {
		adopted := 0
		worker, err := template.Fork(Spec{Env: environ(t), Files: files}, func(pid int) error {
			adopted = pid
			// It waits: a worker that had been told what to be would lead a group.
			if d, ok := process.Read(pid); !ok || d.Parent != os.Getpid() || d.Group == pid {
				t.Errorf("%+v", d)
			}
			return nil
		})
		if err != nil || adopted != worker {
			t.Fatalf("worker %d, adopted %d: %v", worker, adopted, err)
		}
		if exit := reap(t, worker); !exit.OK() {
			t.Errorf("worker %d %s", i, exit)
		}
		if i == 0 {
			before = count()
		}
	}
	if after := count(); after != before {
		t.Errorf("descriptors: %v, then %v", before, after)
	}
	if list, err := process.Descendants(pid); err != nil || len(list) != 0 {
		t.Errorf("%v, %v", list, err)
	}
}

func TestAdoptRefuses(t *testing.T) {
	subreaper(t)
	template := usable(t, modules(t))
	refusal := errors.New("no")
	var worker int
	_, err := template.Fork(Spec{Files: null(t)}, func(pid int) error { worker = pid; return refusal })
	if err != refusal {
		t.Errorf("%v", err)
	}
	// Fork has waited for it.
	if err := unix.Kill(worker, 0); err != unix.ESRCH {
		t.Errorf("worker %d: %v", worker, err)
	}
	_ = fork(t, template, Spec{Env: environ(t)}) // the template goes on
}

func TestSetUpFails(t *testing.T) {
	subreaper(t)
	template := usable(t, modules(t))
	var worker int
	_, err := template.Fork(Spec{CPUs: []int{4000}, Files: null(t)}, func(pid int) error { worker = pid; return nil })
	if err == nil || err.Error() != "a forked worker could not be set up: CPUs: OSError: [Errno 22] Invalid argument" {
		t.Errorf("%v", err)
	}
	if exit := reap(t, worker); exit.OK() { // the caller's to wait for
		t.Errorf("the worker %s", exit)
	}
	_, err = template.Fork(Spec{Files: null(t)}, func(pid int) error { worker = pid; return unix.Kill(pid, unix.SIGKILL) })
	if err == nil || !strings.Contains(err.Error(), "ended while it was being set up") {
		t.Errorf("%v", err)
	}
	if exit := reap(t, worker); !exit.EndedBy(unix.SIGKILL) {
		t.Errorf("the worker %s", exit)
	}
	_ = fork(t, template, Spec{Env: environ(t)})
}

func TestNoSubreaper(t *testing.T) {
	if parent, ok := process.Read(1); !ok || parent.PID == os.Getpid() {
		t.Skip("this is process 1")
	}
	template := usable(t, modules(t))
	_, err := template.Fork(Spec{Files: null(t)}, func(int) error { t.Error("adopted"); return nil })
	if err == nil || !strings.Contains(err.Error(), "which must be a child subreaper") {
		t.Errorf("%v", err)
	}
}

// TestTemplateKilled: whoever needs it learns how it ended.
func TestTemplateKilled(t *testing.T) {
	over := make(chan *exec.Cmd, 1)
	cfg := modules(t)
	cfg.Ended = func(cmd *exec.Cmd) { over <- cmd }
	template := usable(t, cfg)
	if err := unix.Kill(template.Facts().PID, unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	<-template.Dead()
	if got := template.Exit(); got != ended(unix.SIGKILL) {
		t.Errorf("%q", got)
	}
	if cmd := <-over; cmd.ProcessState == nil {
		t.Error("not waited for")
	}
	_, err := template.Fork(Spec{Files: null(t)}, nil)
	if want := fmt.Sprintf("the template (process %d) %s", template.Facts().PID, ended(unix.SIGKILL)); err == nil || err.Error() != want {
		t.Errorf("%v, want %s", err, want)
	}
	template.Close()
	template.Close()
	if _, err := template.Fork(Spec{Files: null(t)}, nil); err == nil {
		t.Error("no error")
	}
}

func TestCloseWhileImporting(t *testing.T) {
	cfg := modules(t, "hangs")
	out, w := pipe(t)
	cfg.Stdout = w
	template := begin(t, cfg)
	if _, err := out.Read(make([]byte, 8)); err != nil {
		t.Fatal(err)
	}
	result := make(chan error)
	go func() {
		_, err := template.Fork(Spec{Files: null(t)}, nil)
		result <- err
	}()
	template.Close()
	if err := <-result; err != errClosed || template.Err() != errClosed {
		t.Errorf("%v, %v", err, template.Err())
	}
	if got := template.Exit(); got != ended(unix.SIGKILL) {
		t.Errorf("%q", got)
	}
}

func TestCloseAtOnce(t *testing.T) {
	template := begin(t, modules(t, "json"))
	template.Close()
	<-template.Ready()
	if err := template.Err(); err != errClosed {
		t.Errorf("%v", err)
	}
}

// TestCloseWhileForking has a template that does not answer.
func TestCloseWhileForking(t *testing.T) {
	template := usable(t, modules(t))
	pid := template.Facts().PID
	if err := unix.Kill(pid, unix.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	var status unix.WaitStatus // when it has stopped, and not before
	if _, err := unix.Wait4(pid, &status, unix.WUNTRACED, nil); err != nil || !status.Stopped() {
		t.Fatalf("%v, %v", status, err)
	}
	result := make(chan error)
	go func() {
		_, err := template.Fork(Spec{Files: null(t)}, nil)
		result <- err
	}()
	template.Close()
	if err := <-result; err != errClosed {
		t.Errorf("%v", err)
	}
}

// TestCloseWhileSettingUp has a worker that does not answer.
func TestCloseWhileSettingUp(t *testing.T) {
	subreaper(t)
	template := usable(t, modules(t))
	var worker int
	_, err := template.Fork(Spec{Files: null(t)}, func(pid int) error {
		worker = pid
		if err := unix.Kill(pid, unix.SIGSTOP); err != nil {
			return err
		}
		go template.Close()
		return nil
	})
	if err != errClosed {
		t.Errorf("%v", err)
	}
	if exit := reap(t, worker); !exit.EndedBy(unix.SIGKILL) {
		t.Errorf("the worker %s", exit)
	}
}

// TestForkFails has a user who may have one process, the template, or two: then the
// worker cannot be forked from the middle one. And it has a template that may have no
// more descriptors.
func TestForkFails(t *testing.T) {
	if os.Geteuid() != 0 {
		nvmltest.Unavailable(t, "cannot become another user, who has no other processes: run as root")
	}
	cfg := modules(t, "limits")
	if cfg.Argv[0] = "/usr/bin/python3"; exec.Command(cfg.Argv[0], "-c", "").Run() != nil {
		nvmltest.Unavailable(t, "no Python for all users: install python3")
	}
	subreaper(t)
	for name, c := range map[string]struct {
		errno syscall.Errno
		text  string
	}{
		"NPROC 1":  {unix.EAGAIN, "EAGAIN: resource temporarily unavailable; the limit on processes is reached"},
		"NPROC 2":  {unix.EAGAIN, "EAGAIN: resource temporarily unavailable; the limit on processes is reached"},
		"NOFILE 5": {unix.EMFILE, "EMFILE: too many open files; the limit on open files is reached"},
	} {
		t.Run(name, func(t *testing.T) {
			cfg.Environ = environ(t, "LIMIT="+name)
			cfg.Folder = readable(t)
			cfg.Start = asNobody
			template := usable(t, cfg)
			for range 2 { // it goes on
				_, err := template.Fork(Spec{Files: null(t)}, func(int) error { t.Error("adopted"); return nil })
				if !errors.Is(err, c.errno) || !strings.HasPrefix(err.Error(), "cannot fork a worker from the template: "+c.text) {
					t.Errorf("%v", err)
				}
			}
		})
	}
}

// readable is a folder that other users can be given, unlike the test's own.
func readable(t *testing.T) string {
	t.Helper()
	folder, err := os.MkdirTemp("", "forkserver")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(folder) })
	return folder
}

func asNobody(cmd *exec.Cmd) error {
	const nobody = 65534
	for _, path := range []string{filepath.Dir(cmd.Args[2]), cmd.Args[2]} {
		if err := os.Chown(path, nobody, nobody); err != nil {
			return err
		}
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	return cmd.Start()
}

// TestTorch: random numbers and threads of workers are as they would be.
func TestTorch(t *testing.T) {
	if withTorch() == "" {
		nvmltest.Unavailable(t, "no PyTorch: install python3-torch")
	}
	subreaper(t)
	cfg := modules(t, "torch", "numpy")
	cfg.Argv = []string{withTorch(), "-u", data(t, "draws.py")}
	cfg.Environ = environ(t, "OMP_NUM_THREADS=1")
	template := usable(t, cfg)
	p := run{python: withTorch(), args: cfg.Argv[2:], env: environ(t, "OMP_NUM_THREADS=2"), stdin: os.DevNull, cpus: []int{allowed(t)}}
	var numpy, python, torch [2]float64
	for i := range 2 {
		r := p.forkedly(t, template)
		var threads, cpu, sum int
		_, err := fmt.Sscanf(r.stdout, "%g %g %g\n%d [%d]\n%d", &numpy[i], &python[i], &torch[i], &threads, &cpu, &sum)
		if err != nil || threads != 2 || cpu != allowed(t) || sum != 300*300*300 {
			t.Errorf("%+v: %v", r, err)
		}
	}
	if numpy[0] == numpy[1] || python[0] == python[1] || torch[0] == torch[1] {
		t.Errorf("numpy %v, python %v, torch %v", numpy, python, torch)
	}
	f := template.Facts()
	t.Logf("imports took %v; %d MiB are shared", f.Import, f.Shared>>20)
}

// BenchmarkFork forks workers from a template with PyTorch. They wait meanwhile.
func BenchmarkFork(b *testing.B) {
	if withTorch() == "" {
		nvmltest.Unavailable(b, "no PyTorch: install python3-torch")
	}
	if err := process.BecomeSubreaper(); err != nil {
		b.Fatal(err)
	}
	template, err := Start(Config{
		Argv: []string{withTorch(), "-u", "testdata/worker.py"}, Environ: os.Environ(), Folder: b.TempDir(), Preload: []string{"torch"},
	})
	if err != nil {
		b.Fatal(err)
	}
	defer template.Close()
	<-template.Ready()
	in, stdin, err := os.Pipe()
	if err != nil {
		b.Fatal(err)
	}
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		b.Fatal(err)
	}
	var pids []int
	start, before := time.Now(), ticks(b, template.Facts().PID)
	for b.Loop() {
		pid, err := template.Fork(Spec{Env: os.Environ(), Files: [3]*os.File{in, null, null}}, func(int) error { return nil })
		if err != nil {
			b.Fatal(err)
		}
		pids = append(pids, pid)
	}
	b.ReportMetric(float64(time.Since(start).Milliseconds())/float64(len(pids)), "ms/worker")
	used := ticks(b, append(pids, template.Facts().PID)...) - before
	b.ReportMetric(float64(10*used)/float64(len(pids)), "cpu-ms/worker")
	stdin.Close()
	for _, pid := range pids {
		_, _ = unix.Wait4(pid, nil, 0, nil)
	}
	b.Logf("%+v", template.Facts())
}

// ticks is the processor time of processes and of the children that they have waited
// for, in hundredths of a second (fields 14 to 17 of proc_pid_stat(5)).
func ticks(b *testing.B, pids ...int) (sum int) {
	b.Helper()
	for _, pid := range pids {
		data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil {
			b.Fatal(err)
		}
		fields := strings.Fields(string(data[bytes.LastIndexByte(data, ')')+1:]))
		for _, field := range fields[11:15] {
			n, err := strconv.Atoi(field)
			if err != nil {
				b.Fatal(err)
			}
			sum += n
		}
	}
	return sum
}
