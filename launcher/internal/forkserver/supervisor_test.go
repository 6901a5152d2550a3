//go:build linux

package forkserver

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/gpulaunch/gpulaunch/launcher/internal/process"
)

// supervisor is another process's part: it forks a worker and waits to be killed.
func supervisor(python, folder string) {
	fail := func(err error) {
		if err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
	}
	fail(process.BecomeSubreaper())
	template, err := Start(Config{
		Argv: []string{python, "-u", "testdata/worker.py"}, Environ: os.Environ(), Folder: folder, Stderr: os.Stderr,
		// Without a death signal, to see that the template leaves by itself.
		Start: (*exec.Cmd).Start,
	})
	fail(err)
	_, err = template.Fork(Spec{Files: [3]*os.File{os.Stdin, os.Stdout, os.Stderr}}, func(int) error { return nil })
	fail(err)
	fmt.Println("template", template.Facts().PID)
	_, _ = io.Copy(io.Discard, os.Stdin)
}

// TestSupervisorKilled: the worker has its death signal from the kernel, and the
// template sees that its link has ended.
func TestSupervisorKilled(t *testing.T) {
	subreaper(t)
	cmd := exec.Command("/proc/self/exe", "supervisor", python(t), t.TempDir())
	stdin, _ := pipe(t)
	out, w := pipe(t)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = stdin, w, os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	w.Close()
	var worker, template, parent, group, signal int
	lines := bufio.NewScanner(out)
	for template == 0 || worker == 0 {
		if !lines.Scan() {
			t.Fatal("it has ended")
		}
		if _, err := fmt.Sscanf(lines.Text(), "template %d", &template); err == nil {
			continue
		}
		if _, err := fmt.Sscan(lines.Text(), &worker, &parent, &group, &signal); err != nil {
			t.Fatalf("%q: %v", lines.Text(), err)
		}
	}
	if parent != cmd.Process.Pid || group != worker || signal != int(unix.SIGKILL) {
		t.Errorf("worker %d: parent %d, group %d, death signal %d", worker, parent, group, signal)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Error(err)
	}
	_ = cmd.Wait()
	// Both come here now. Its standard input, which would end it otherwise, is open.
	if exit := reap(t, worker); !exit.EndedBy(unix.SIGKILL) {
		t.Errorf("the worker %s", exit)
	}
	if exit := reap(t, template); !exit.OK() {
		t.Errorf("the template %s", exit)
	}
}

// TestWorker looks at a waiting worker from outside.
func TestWorker(t *testing.T) {
	subreaper(t)
	template := usable(t, modules(t, "json"))
	w := fork(t, template, Spec{Env: environ(t), CPUs: []int{allowed(t)}})
	var pid, parent, group, signal int
	if _, err := fmt.Fscan(w.stdout, &pid, &parent, &group, &signal); err != nil {
		t.Fatal(err)
	}
	if pid != w.pid || parent != os.Getpid() || group != pid || signal != int(unix.SIGKILL) {
		t.Errorf("worker %d: pid %d, parent %d, group %d, death signal %d", w.pid, pid, parent, group, signal)
	}
	var set unix.CPUSet
	if err := unix.SchedGetaffinity(w.pid, &set); err != nil || set.Count() != 1 || !set.IsSet(allowed(t)) {
		t.Errorf("CPUs %v, %v", set, err)
	}
	if name := comm(t, w.pid); !strings.HasPrefix(name, "python") || name == comm(t, template.Facts().PID) {
		t.Errorf("the worker is called %q, the template %q", name, comm(t, template.Facts().PID))
	}
	descriptors, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", w.pid))
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range descriptors {
		link, _ := os.Readlink(fmt.Sprintf("/proc/%d/fd/%s", w.pid, d.Name()))
		if strings.HasPrefix(link, "socket:") {
			t.Errorf("descriptor %s is a %s", d.Name(), link)
		}
	}
	template.Close() // the worker goes on
	w.stdin.Close()
	if exit := w.wait(); !exit.OK() {
		t.Errorf("the worker %s", exit)
	}
}

func comm(t *testing.T, pid int) string {
	t.Helper()
	name, err := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid))
	if err != nil {
		t.Error(err)
	}
	return strings.TrimSpace(string(name))
}

// allowed is the last CPU that this process may run on.
func allowed(t *testing.T) (cpu int) {
	t.Helper()
	var set unix.CPUSet
	if err := unix.SchedGetaffinity(0, &set); err != nil {
		t.Fatal(err)
	}
	for i := range len(set) * 64 {
		if set.IsSet(i) {
			cpu = i
		}
	}
	return cpu
}
