//go:build linux

package forkserver

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/gpulaunch/gpulaunch/gpu/nvml/nvmltest"
	"github.com/gpulaunch/gpulaunch/launcher/internal/process"
	"github.com/gpulaunch/gpulaunch/launcher/launchertest"
)

// null returns /dev/null for all files of a worker.
func null(t *testing.T) (files [3]*os.File) {
	t.Helper()
	f, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return [3]*os.File{f, f, f}
}

// countDescriptors returns how many descriptors this process and another one have open.
func countDescriptors(t *testing.T, other int) (n [2]int) {
	t.Helper()
	for i, pid := range []int{os.Getpid(), other} {
		list, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
		if err != nil {
			t.Fatal(err)
		}
		n[i] = len(list)
	}
	return n
}

// TestManyWorkers also wants no descriptors to stay open, and no children of the template process
// to be left.
func TestManyWorkers(t *testing.T) {
	launchertest.BecomeSubreaper(t)
	template := usable(t, modules(t, "json"))
	pid := template.Facts().PID
	files := null(t)
	before := [2]int{}
	for i := range 50 {
		adopted := 0
		worker, err := template.Fork(Spec{Env: environ(t), Files: files}, func(pid int) error {
			adopted = pid
			// The worker must still wait: after it has been set up, it leads a process group.
			d, ok := process.Read(pid)
			if !ok || d.Parent != os.Getpid() || d.Group == pid {
				t.Errorf("the adopted worker is %+v, want a child of this process "+
					"that does not lead a process group yet", d)
			}
			return nil
		})
		if err != nil || adopted != worker {
			t.Fatalf("Fork returns worker %d (%v), and adopt was called with %d",
				worker, err, adopted)
		}
		if exit := reap(t, worker); !exit.OK() {
			t.Errorf("worker %d %s, want exit code 0", i, exit)
		}
		if i == 0 {
			before = countDescriptors(t, pid)
		}
	}
	if after := countDescriptors(t, pid); after != before {
		t.Errorf("this process and the template process have %v descriptors open, want %v",
			after, before)
	}
	if list, err := process.Descendants(pid); err != nil || len(list) != 0 {
		t.Errorf("the template process has the descendants %v (%v), want none", list, err)
	}
}

func TestAdoptRefuses(t *testing.T) {
	launchertest.BecomeSubreaper(t)
	template := usable(t, modules(t))
	refusal := errors.New("no")
	var worker int
	_, err := template.Fork(Spec{Files: null(t)}, func(pid int) error {
		worker = pid
		return refusal
	})
	if err != refusal {
		t.Errorf("Fork returns the error %v, want the one of adopt", err)
	}
	if err := unix.Kill(worker, 0); err != unix.ESRCH {
		t.Errorf("kill(%d, 0) returns %v, want ESRCH: Fork must have waited for it", worker, err)
	}
	_ = fork(t, template, Spec{Env: environ(t)}) // the template process still works
}

func TestSetUpFails(t *testing.T) {
	launchertest.BecomeSubreaper(t)
	template := usable(t, modules(t))
	var worker int
	spec := Spec{CPUs: []int{4000}, Files: null(t)}
	_, err := template.Fork(spec, func(pid int) error { worker = pid; return nil })
	const want = "cannot set up a forked worker: CPUs: OSError: [Errno 22] Invalid argument"
	if err == nil || err.Error() != want {
		t.Errorf("with CPUs that do not exist, Fork returns the error %v, want %s", err, want)
	}
	if exit := reap(t, worker); exit.OK() { // adopt returned nil, so the caller has to wait
		t.Errorf("the worker %s, want a failure", exit)
	}
	_, err = template.Fork(Spec{Files: null(t)}, func(pid int) error {
		worker = pid
		return unix.Kill(pid, unix.SIGKILL)
	})
	if err == nil || !strings.Contains(err.Error(), "ended while it was being set up") {
		t.Errorf("for a worker that was killed, Fork returns the error %v", err)
	}
	if exit := reap(t, worker); !exit.EndedBy(unix.SIGKILL) {
		t.Errorf("the worker %s, want SIGKILL", exit)
	}
	_ = fork(t, template, Spec{Env: environ(t)}) // the template process still works
}

func TestNoSubreaper(t *testing.T) {
	if parent, ok := process.Read(1); !ok || parent.PID == os.Getpid() {
		nvmltest.NotOnThisMachine(t, "this is process 1, which gets all orphans")
	}
	template := usable(t, modules(t))
	_, err := template.Fork(Spec{Files: null(t)}, func(int) error {
		t.Error("a worker was adopted that is not a child of this process")
		return nil
	})
	if err == nil || !strings.Contains(err.Error(), "make this process a child subreaper") {
		t.Errorf("Fork returns the error %v, want one that asks for a child subreaper", err)
	}
}

// TestForkFails has a template process that reaches its limits. With one process, which is the
// template process itself, the middle process cannot be forked, and with two, the worker cannot be
// forked by the middle process.
func TestForkFails(t *testing.T) {
	if os.Geteuid() != 0 {
		nvmltest.Unavailable(t, "this test becomes a user without other processes: run as root")
	}
	cfg := modules(t, "limits")
	cfg.Argv[0] = "/usr/bin/python3"
	if exec.Command(cfg.Argv[0], "-c", "").Run() != nil {
		nvmltest.Unavailable(t, "there is no Python that every user can run: install python3")
	}
	launchertest.BecomeSubreaper(t)
	const again = "EAGAIN: resource temporarily unavailable; the limit on processes is reached"
	const files = "EMFILE: too many open files; the limit on open files is reached"
	for name, c := range map[string]struct {
		errno syscall.Errno
		text  string
	}{
		"NPROC 1":  {unix.EAGAIN, again},
		"NPROC 2":  {unix.EAGAIN, again},
		"NOFILE 5": {unix.EMFILE, files},
	} {
		t.Run(name, func(t *testing.T) {
			cfg.Environ = environ(t, "LIMIT="+name)
			cfg.Folder = publicFolder(t)
			cfg.Start = startAsNobody
			template := usable(t, cfg)
			for range 2 { // a failure does not stop the template process
				_, err := template.Fork(Spec{Files: null(t)}, func(int) error {
					t.Error("a worker was adopted")
					return nil
				})
				want := "cannot fork a worker from the template process: " + c.text
				if !errors.Is(err, c.errno) || !strings.HasPrefix(err.Error(), want) {
					t.Errorf("Fork returns the error %v, want %s", err, want)
				}
			}
		})
	}
}

// publicFolder makes a folder that another user can reach, unlike t.TempDir.
func publicFolder(t *testing.T) string {
	t.Helper()
	folder, err := os.MkdirTemp("", "forkserver")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(folder) })
	return folder
}

func startAsNobody(cmd *exec.Cmd) error {
	const nobody = 65534
	for _, path := range []string{filepath.Dir(cmd.Args[2]), cmd.Args[2]} {
		if err := os.Chown(path, nobody, nobody); err != nil {
			return err
		}
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Credential: &syscall.Credential{Uid: nobody, Gid: nobody},
	}
	return cmd.Start()
}
