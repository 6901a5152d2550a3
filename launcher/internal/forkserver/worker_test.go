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
	"github.com/gpulaunch/gpulaunch/launcher/launchertest"
)

// supervisor is the main function of a process that forks a worker and waits until it is killed.
func supervisor(python, folder string) {
	fail := func(err error) {
		if err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
	}
	fail(process.BecomeSubreaper())
	template, err := Start(Config{
		Argv: []string{python, "-u", "testdata/worker.py"}, Environ: os.Environ(), Folder: folder,
		Stderr: os.Stderr,
		// It has no parent death signal, so the template process must exit by itself.
		Start: (*exec.Cmd).Start,
	})
	fail(err)
	spec := Spec{Files: [3]*os.File{os.Stdin, os.Stdout, os.Stderr}}
	_, err = template.Fork(spec, func(int) error { return nil })
	fail(err)
	fmt.Println("template", template.Facts().PID)
	_, _ = io.Copy(io.Discard, os.Stdin)
}

// TestSupervisorKilled kills the process that has forked a worker. The kernel must kill the worker,
// and the template process must exit because its link has ended.
func TestSupervisorKilled(t *testing.T) {
	launchertest.BecomeSubreaper(t)
	cmd := exec.Command("/proc/self/exe", "supervisor", launchertest.Python(t), t.TempDir())
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
			t.Fatal("the supervisor ended before its worker and template process were known")
		}
		if _, err := fmt.Sscanf(lines.Text(), "template %d", &template); err == nil {
			continue
		}
		if _, err := fmt.Sscan(lines.Text(), &worker, &parent, &group, &signal); err != nil {
			t.Fatalf("the worker printed %q, want four numbers (%v)", lines.Text(), err)
		}
	}
	if parent != cmd.Process.Pid || group != worker || signal != int(unix.SIGKILL) {
		t.Errorf("worker %d has the parent %d, the process group %d and the death signal %d, "+
			"want %d, its own pid and SIGKILL", worker, parent, group, signal, cmd.Process.Pid)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Error(err)
	}
	_ = cmd.Wait()
	// Both are children of this process now. The worker would exit at the end of its standard
	// input, but that is still open.
	if exit := reap(t, worker); !exit.EndedBy(unix.SIGKILL) {
		t.Errorf("the worker %s, want SIGKILL", exit)
	}
	if exit := reap(t, template); !exit.OK() {
		t.Errorf("the template process %s, want exit code 0", exit)
	}
}

// TestWorker looks at the properties of a running worker.
func TestWorker(t *testing.T) {
	launchertest.BecomeSubreaper(t)
	template := usable(t, modules(t, "json"))
	cpu := launchertest.AllowedCPUs(t).Max()
	w := fork(t, template, Spec{Env: environ(t), CPUs: []int{cpu}})
	var pid, parent, group, signal int
	if _, err := fmt.Fscan(w.stdout, &pid, &parent, &group, &signal); err != nil {
		t.Fatal(err)
	}
	if pid != w.pid || parent != os.Getpid() || group != pid || signal != int(unix.SIGKILL) {
		t.Errorf("worker %d has the pid %d, the parent %d, the process group %d and the death "+
			"signal %d, want the same pid, %d, the pid and SIGKILL",
			w.pid, pid, parent, group, signal, os.Getpid())
	}
	var set unix.CPUSet
	err := unix.SchedGetaffinity(w.pid, &set)
	if err != nil || set.Count() != 1 || !set.IsSet(cpu) {
		t.Errorf("the worker may use the CPUs %v (%v), want %d alone", set, err, cpu)
	}
	name, templateName := comm(t, w.pid), comm(t, template.Facts().PID)
	if !strings.HasPrefix(name, "python") || name == templateName {
		t.Errorf("the worker is called %q and the template process %q", name, templateName)
	}
	descriptors, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", w.pid))
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range descriptors {
		link, _ := os.Readlink(fmt.Sprintf("/proc/%d/fd/%s", w.pid, d.Name()))
		if strings.HasPrefix(link, "socket:") {
			t.Errorf("the worker has descriptor %s open, which is %s", d.Name(), link)
		}
	}
	template.Close() // this must not end the worker
	w.stdin.Close()
	if exit := w.wait(); !exit.OK() {
		t.Errorf("the worker %s, want exit code 0", exit)
	}
}

// comm returns the name of a process that ps and top show.
func comm(t *testing.T, pid int) string {
	t.Helper()
	name, err := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid))
	if err != nil {
		t.Error(err)
	}
	return strings.TrimSpace(string(name))
}
