//go:build linux

package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/gpulaunch/gpulaunch/gpu/nvml/nvmltest"
	"github.com/gpulaunch/gpulaunch/launcher/launchertest"
)

// TestLeftoversOfEndedWorkersAreAsked has a worker that uses up the grace period, and one that has
// ended and left something behind. What it left is asked to end before it is killed, whether the
// worker ended before the job was stopped or because of it.
func TestLeftoversOfEndedWorkersAreAsked(t *testing.T) {
	const left = `trap 'echo asked >"$0"; exit' TERM; echo ready $$; while :; do sleep 1 & wait; done`
	for name, last := range map[string]string{"before": "true", "then": "sleep 1000"} {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "asked")
			script := `case $RANK in
				0) setsid sh -c "$1" "$0" & echo ready; exec ` + last + ` ;;
				1) trap "" TERM; echo ready; while :; do sleep 1000 & wait; done ;;
			esac`
			j := launchertest.Start(t, nil, "run", "--nproc-per-node=2", "--grace=500ms", "sh", "-c",
				script, file, left)
			j.Await(3, "ready")
			if last == "true" {
				pid := j.Supervisor()
				launchertest.Poll(func() bool { return len(launchertest.Children(pid)) == 2 })
			}
			j.Signal(unix.SIGTERM)
			code, stderr := j.Exit()
			if _, err := os.Stat(file); err != nil || code != 143 {
				t.Errorf("what was left behind was not asked: %v; exit code %d\n%s", err, code, stderr)
			}
		})
	}
}

// TestOutsiderWrites has a process that is none of the job's write to the output of a worker without
// an end. The job ends all the same.
func TestOutsiderWrites(t *testing.T) {
	j := launchertest.Start(t, nil, append([]string{"run", "--nproc-per-node=2"},
		launchertest.Worker("block")...)...)
	worker := j.Await(2, `ready (\d+)`)[0]
	pipe, err := os.OpenFile("/proc/"+worker+"/fd/1", os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer pipe.Close()
	go func() {
		for err := error(nil); err == nil; { // until nobody reads any more
			_, err = pipe.WriteString("of an outsider\n")
			<-time.After(time.Millisecond)
		}
	}()
	for _, pid := range launchertest.Children(j.Supervisor()) {
		if err := unix.Kill(pid, unix.SIGKILL); err != nil {
			t.Fatal(err)
		}
	}
	code, stderr := j.Exit()
	if code != 137 || !strings.Contains(stderr, "keeps writing to the output of rank ") {
		t.Errorf("exit code %d\n%s", code, stderr)
	}
}

// TestTracedWorker has a worker that has ended but cannot be waited for before its tracer has noticed.
// The job goes on when that is gone.
func TestTracedWorker(t *testing.T) {
	python := launchertest.Python(t)
	const seize = `
import ctypes, sys, time
libc = ctypes.CDLL(None, use_errno=True)
if libc.ptrace(0x4206, int(sys.argv[1]), None, None):  # PTRACE_SEIZE
    sys.exit(str(ctypes.get_errno()))
print("seized", flush=True)
time.sleep(1000)
`
	j := launchertest.Start(t, nil, append([]string{"run", "--nproc-per-node=1", "--grace=1h"},
		launchertest.Worker("block")...)...)
	worker := j.Await(1, `ready (\d+)`)[0]
	tracer := exec.Command(python, "-c", seize, worker)
	var said launchertest.Buffer
	tracer.Stdout, tracer.Stderr = &said, &said
	if err := tracer.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = tracer.Wait() })
	t.Cleanup(func() { _ = tracer.Process.Kill() })
	said.Await(t, "seized")
	pid, _ := strconv.Atoi(worker)
	if err := unix.Kill(pid, unix.SIGKILL); err != nil { // the tracer would hold any other signal
		t.Fatal(err)
	}
	awaitState(t, worker, "Z")
	if err := tracer.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	if code, stderr := j.Exit(); code != 137 || strings.Contains(stderr, "cannot be killed") {
		t.Errorf("exit code %d\n%s", code, stderr)
	}
}

// TestRunaways ends 40 processes each of which starts a successor in a session of its own and exits,
// again and again. There is no control group that could kill all of them at once.
func TestRunaways(t *testing.T) {
	if _, err := exec.LookPath("setsid"); err != nil {
		nvmltest.Unavailable(t, "setsid is not here")
	}
	script := filepath.Join(t.TempDir(), "runaway")
	const runaway = `sleep 0.02; [ -e "$1" ] || setsid sh "$0" "$1" & exit`
	if err := os.WriteFile(script, []byte(runaway), 0o644); err != nil {
		t.Fatal(err)
	}
	const worker = `for i in $(seq 40); do sh "$0" "$1" & done; echo ready; exec sleep 1000`
	for name, end := range map[string]struct {
		sig  unix.Signal
		code int
	}{"the job is stopped": {unix.SIGTERM, 143}, "the supervisor is killed": {unix.SIGKILL, 125}} {
		t.Run(name, func(t *testing.T) {
			stop := filepath.Join(t.TempDir(), "stop")
			j := launchertest.Start(t, nil, "run", "--nproc-per-node=1", "--cgroup=off", "--grace=0.1",
				"sh", "-c", worker, script, stop)
			// For the case that the launcher does not end them, and the output has no end.
			t.Cleanup(func() {
				if err := os.WriteFile(stop, nil, 0o644); err != nil {
					t.Error(err)
				}
			})
			j.Await(1, "ready")
			pid := j.Keeper()
			if end.sig == unix.SIGKILL {
				pid = j.Supervisor()
			}
			if err := unix.Kill(pid, end.sig); err != nil {
				t.Fatal(err)
			}
			code, stderr := j.Exit()
			if code != end.code || strings.Contains(stderr, "cannot be killed") {
				t.Errorf("exit code %d, want %d\n%s", code, end.code, stderr)
			}
		})
	}
}

// TestProcOfOtherNamespace runs where /proc shows the processes of another PID namespace, which have
// the same numbers as the job's. Nothing is killed by what it shows.
func TestProcOfOtherNamespace(t *testing.T) {
	unshare := []string{"unshare", "--pid", "--fork", "--kill-child"}
	if exec.Command(unshare[0], append(unshare[1:], "true")...).Run() != nil {
		nvmltest.Unavailable(t, "a PID namespace needs root and unshare")
	}
	j := launchertest.StartCommand(t, nil, nil, append(unshare, job(append(
		[]string{"--nproc-per-node=1", "--cgroup=off"}, launchertest.Worker("leave", "ignore")...)...)...)...)
	code, stderr := j.Exit()
	if code != 0 || strings.Contains(stderr, "killed") || strings.Count(stderr,
		"warning: /proc shows another PID namespace: mount proc on /proc; ") != 1 {
		t.Errorf("exit code %d\n%s", code, stderr)
	}
}

// denied begins a command line that may not use pidfds, as under an old filter of system calls: it
// denies pidfd_open and pidfd_send_signal (seccomp(2)).
func denied(t *testing.T) []string {
	t.Helper()
	const filter = `
import ctypes, os, struct, sys
def op(code, jt, jf, k): return struct.pack("HBBI", code, jt, jf, k)
calls = [434, 424]  # pidfd_open, pidfd_send_signal, on every architecture
program = op(0x20, 0, 0, 0)  # load the number
for i, n in enumerate(calls):
    program += op(0x15, len(calls) - i, 0, n)
program += op(0x06, 0, 0, 0x7fff0000) + op(0x06, 0, 0, 0x00050001)  # allow; errno EPERM
buffer = ctypes.create_string_buffer(program)
class Fprog(ctypes.Structure):
    _fields_ = [("len", ctypes.c_ushort), ("filter", ctypes.c_void_p)]
prog = Fprog(len(calls) + 3, ctypes.addressof(buffer))
libc = ctypes.CDLL(None, use_errno=True)
if libc.prctl(38, 1, 0, 0, 0) or libc.prctl(22, 2, ctypes.byref(prog)):
    sys.exit("no seccomp: " + os.strerror(ctypes.get_errno()))
try:
    os.pidfd_open(os.getpid())
except PermissionError:
    os.execv(sys.argv[1], sys.argv[1:])
sys.exit("the filter does not deny pidfd_open")
`
	python := launchertest.Python(t)
	argv := []string{python, "-c", filter}
	if out, err := exec.Command(python, "-c", filter, "/bin/true").CombinedOutput(); err != nil {
		nvmltest.Unavailable(t, "system calls cannot be denied: "+string(out))
	}
	return argv
}

// TestWithoutPidfds runs jobs where pidfds are denied. They end as elsewhere.
func TestWithoutPidfds(t *testing.T) {
	argv := denied(t)
	start := func(flags []string, program ...string) *launchertest.Job {
		return launchertest.StartCommand(t, nil, nil, append(argv, job(append(append(
			[]string{"--nproc-per-node=2", "--cgroup=off"}, flags...),
			launchertest.Worker(program...)...)...)...)...)
	}
	t.Run("a good end", func(t *testing.T) {
		j := start([]string{"--grace=0.2"}, "leave", "ignore")
		left := j.Await(2, `ready (\d+)`)
		code, stderr := j.Exit()
		if code != 0 || !strings.Contains(stderr, "killed 2 processes that workers left behind") {
			t.Errorf("exit code %d\n%s", code, stderr)
		}
		launchertest.Gone(t, left...)
	})
	t.Run("a failure", func(t *testing.T) {
		if code, stderr := start(nil, "fail", "1", "3").Exit(); code != 3 {
			t.Errorf("exit code %d\n%s", code, stderr)
		}
	})
	t.Run("forked workers", func(t *testing.T) {
		script := filepath.Join(t.TempDir(), "fork.py")
		if err := os.WriteFile(script, []byte("import os; os._exit(3 * int(os.environ['RANK']))"),
			0o644); err != nil {
			t.Fatal(err)
		}
		code, stderr := launchertest.StartCommand(t, nil, []string{"PYTHON_EXEC=" + argv[0]},
			append(argv, job("--nproc-per-node=2", "--start-method=forkserver", script)...)...).Exit()
		if code != 3 || strings.Count(stderr, "pidfd_open is denied here") != 1 {
			t.Errorf("exit code %d\n%s", code, stderr)
		}
	})
	t.Run("the supervisor is killed", func(t *testing.T) {
		j := start(nil, "leave-and-block", "ignore")
		pids := j.Await(4, `ready (\d+)`)
		if err := unix.Kill(j.Supervisor(), unix.SIGKILL); err != nil {
			t.Fatal(err)
		}
		launchertest.Gone(t, pids...)
		if code, stderr := j.Exit(); code != 125 {
			t.Errorf("exit code %d\n%s", code, stderr)
		}
	})
}
