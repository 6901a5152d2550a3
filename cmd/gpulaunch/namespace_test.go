//go:build linux

package main

import (
	"os/exec"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/gpulaunch/gpulaunch/gpu/nvml/nvmltest"
	"github.com/gpulaunch/gpulaunch/launcher/launchertest"
)

// requireNamespaces skips the test unless this user may make PID namespaces.
func requireNamespaces(t *testing.T) {
	t.Helper()
	if exec.Command("unshare", "--pid", "--fork", "--mount-proc", "true").Run() != nil &&
		exec.Command("unshare", "--user", "--pid", "--fork", "--mount-proc", "true").Run() != nil {
		nvmltest.Unavailable(t, "a PID namespace needs unshare, and root or user namespaces")
	}
}

// below returns the descendants of a process in this PID namespace.
func below(pid int) (list []string) {
	for _, child := range launchertest.Children(pid) {
		list = append(append(list, strconv.Itoa(child)), below(child)...)
	}
	return list
}

// insideJob starts a job in a PID namespace, whose workers start processes in sessions of their own.
func insideJob(t *testing.T, flags ...string) *launchertest.Job {
	t.Helper()
	args := append([]string{"run", "--pid-namespace=on", "--nproc-per-node=2", "--grace=1h"}, flags...)
	j := launchertest.Start(t, nil, append(args, stubborn...)...)
	for _, pid := range j.Await(4, `ready (\d+)`) {
		if n, _ := strconv.Atoi(pid); n > 4000 {
			t.Errorf("process id %d is not one of a new PID namespace", n)
		}
	}
	return j
}

// TestPIDNamespaceBothKilled kills both processes of a job at once. TestNextJobEndsWhatIsLeft is the
// negative control: without a namespace, what the workers have started is left.
func TestPIDNamespaceBothKilled(t *testing.T) {
	requireNamespaces(t)
	j := insideJob(t)
	all := below(j.Keeper())
	if len(all) != 5 {
		t.Errorf("the keeper has the descendants %v, want the supervisor and four processes", all)
	}
	processes := []int{j.Supervisor(), j.Keeper()}
	for _, sig := range []unix.Signal{unix.SIGSTOP, unix.SIGKILL} {
		for _, pid := range processes {
			if err := unix.Kill(pid, sig); err != nil {
				t.Fatal(err)
			}
			if sig == unix.SIGSTOP {
				awaitState(t, strconv.Itoa(pid), "T")
			}
		}
	}
	launchertest.Gone(t, all...)
	j.Exit()
}

// TestPIDNamespaceSignals asks such a job to end, which it does like any other.
func TestPIDNamespaceSignals(t *testing.T) {
	requireNamespaces(t)
	j := insideJob(t)
	all := below(j.Keeper())
	j.Signal(unix.SIGTERM)
	j.AwaitStderr("SIGTERM: stopping 2 workers")
	launchertest.AwaitSignalWindow()
	j.Signal(unix.SIGTERM)
	if code, stderr := j.Exit(); code != 143 {
		t.Errorf("exit code %d\n%s", code, stderr)
	}
	launchertest.Gone(t, all...)
}

func TestPIDNamespaceExitCode(t *testing.T) {
	requireNamespaces(t)
	for _, mode := range []string{"on", "auto"} {
		code, stderr := launchertest.Start(t, nil, append([]string{"run", "--nproc-per-node=2",
			"--pid-namespace=" + mode}, launchertest.Worker("fail", "1", "3")...)...).Exit()
		if code != 3 || strings.Contains(stderr, "without a PID namespace") {
			t.Errorf("%s: exit code %d\n%s", mode, code, stderr)
		}
	}
}

// TestPIDNamespaceSupervisorKilled: the kernel ends the job, and the keeper says why.
func TestPIDNamespaceSupervisorKilled(t *testing.T) {
	requireNamespaces(t)
	j := insideJob(t)
	all := below(j.Keeper())
	if err := unix.Kill(j.Supervisor(), unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	launchertest.Gone(t, all...)
	if code, stderr := j.Exit(); code != 125 ||
		!strings.Contains(stderr, "the supervisor terminated with signal SIGKILL") {
		t.Errorf("exit code %d\n%s", code, stderr)
	}
}

// TestPIDNamespaceTyped reads a terminal in a namespace, where the supervisor cannot see the
// keeper's process group and is started in it.
func TestPIDNamespaceTyped(t *testing.T) {
	requireNamespaces(t)
	x := openTerminal(t)
	x.run("-q --pid-namespace=on --nproc-per-node=2 --stdin=rank0 --output=prefix", "report")
	x.await(`\[1\] report .*"Stdin":""`)
	x.write("typed\n\x04")
	x.await(`\[0\] report .*"Stdin":"typed\\n"`)
	x.write("echo code $?\n")
	x.await("code 0")
}

// TestPIDNamespaceOfUser needs no privilege where user namespaces are permitted. The worker has the
// user's id and no capability.
func TestPIDNamespaceOfUser(t *testing.T) {
	user := []string{"setpriv", "--reuid=54321", "--regid=54321", "--clear-groups"}
	if exec.Command(user[0], append(user[1:], "unshare", "--user", "--pid", "--fork", "--mount-proc",
		"true")...).Run() != nil {
		nvmltest.Unavailable(t, "user namespaces need setpriv, unshare, root, and a kernel with them")
	}
	cmd := exec.Command(user[0], append(user[1:], readableBinary(t), "run", "-q",
		"--metrics-address=off", "--pid-namespace=on", "--nproc-per-node=1", "sh", "-c",
		"id -u; grep -E '^Cap(Prm|Eff|Amb)' /proc/self/status; echo $$")...)
	out, err := cmd.CombinedOutput()
	lines := strings.Fields(string(out))
	if err != nil || len(lines) != 8 || lines[0] != "54321" {
		t.Fatalf("%v\n%s", err, out)
	}
	for i := 2; i <= 6; i += 2 {
		if strings.Trim(lines[i], "0") != "" {
			t.Errorf("the worker has capabilities:\n%s", out)
		}
	}
	if pid, _ := strconv.Atoi(lines[7]); pid > 4000 {
		t.Errorf("process id %d is not one of a new PID namespace", pid)
	}
}

// TestPIDNamespaceRefused runs where no namespace is permitted.
func TestPIDNamespaceRefused(t *testing.T) {
	refused := []string{"unshare", "--user", "--map-root-user", "sh", "-c",
		`echo 0 >/proc/sys/user/max_user_namespaces &&
		exec setpriv --bounding-set=-all --inh-caps=-all "$0" "$@"`}
	if exec.Command(refused[0], append(refused[1:], "true")...).Run() != nil {
		nvmltest.Unavailable(t, "user namespaces need unshare, setpriv, and a kernel with them")
	}
	args := func(mode string) []string {
		return append(refused, job("--nproc-per-node=1", "--pid-namespace="+mode, "true")...)
	}
	code, stderr := launchertest.StartCommand(t, nil, nil, args("on")...).Exit()
	if code != 125 || strings.Count(stderr, "\n") != 1 ||
		!strings.Contains(stderr, "--pid-namespace=on: the limit on namespaces is reached") {
		t.Errorf("on: exit code %d\n%s", code, stderr)
	}
	code, stderr = launchertest.StartCommand(t, nil, nil, args("auto")...).Exit()
	if code != 0 || !strings.Contains(stderr, "without a PID namespace (--pid-namespace=auto): ") {
		t.Errorf("auto: exit code %d\n%s", code, stderr)
	}
}
