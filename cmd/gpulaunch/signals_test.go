//go:build linux

package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/gpulaunch/gpulaunch/gpu/nvml/nvmltest"
	"github.com/gpulaunch/gpulaunch/launcher/launchertest"
)

// job is the command line of a job without metrics.
func job(args ...string) []string {
	return append([]string{launchertest.Binary, "run", "--metrics-address=off"}, args...)
}

// awaitState waits until a process is in a state of proc(5).
func awaitState(t *testing.T, pid, states string) {
	t.Helper()
	n, _ := strconv.Atoi(pid)
	var fields []string
	reached := launchertest.Poll(func() bool {
		fields = launchertest.Stat(n)
		return len(fields) == 0 || strings.Contains(states, fields[0])
	})
	if !reached || len(fields) == 0 {
		t.Fatalf("process %s is not in a state of %s: %s", pid, states, fields)
	}
}

func TestSuspendAndResume(t *testing.T) {
	j := launchertest.Start(t, nil, append([]string{"run", "--nproc-per-node=2"},
		launchertest.Worker("relay")...)...)
	pids := j.Await(2, `ready (\d+)`)
	j.Signal(unix.SIGTSTP)
	awaitState(t, strconv.Itoa(j.Keeper()), "T")
	for _, pid := range pids {
		awaitState(t, pid, "T") // they were stopped before the keeper was
	}
	j.Signal(unix.SIGCONT)
	for _, pid := range pids {
		awaitState(t, pid, "SR")
	}
	j.Signal(unix.SIGTERM)
	j.Await(2, "got SIGTERM")
	if code, stderr := j.Exit(); code != 143 {
		t.Errorf("exit code %d\n%s", code, stderr)
	}
}

// TestSuspendAndResumeAtOnce: whichever the launcher sees first, it is not left
// stopped.
func TestSuspendAndResumeAtOnce(t *testing.T) {
	j := launchertest.Start(t, nil, append([]string{"run", "--nproc-per-node=2"},
		launchertest.Worker("relay")...)...)
	j.Await(2, "ready")
	for i := range 50 {
		j.Signal(unix.SIGTSTP)
		for range i * 1000 {
			runtime.Gosched() // a little longer each time
		}
		j.Signal(unix.SIGCONT)
	}
	awaitState(t, strconv.Itoa(j.Keeper()), "SR")
	j.Signal(unix.SIGUSR1)
	j.Await(2, "got SIGUSR1")
	j.Signal(unix.SIGTERM)
	if code, stderr := j.Exit(); code != 143 {
		t.Errorf("exit code %d\n%s", code, stderr)
	}
}

// TestNoSuspensionWhileStopping checks that workers that have been asked to end are not stopped by
// SIGTSTP. They would lose their grace period, because the keeper does not stop any more, so
// nobody would continue them.
func TestNoSuspensionWhileStopping(t *testing.T) {
	report := filepath.Join(t.TempDir(), "report.json")
	j := launchertest.Start(t, nil, append([]string{"run", "--nproc-per-node=2", "--grace=10s",
		"--report=" + report}, launchertest.Worker("on-int", "300ms")...)...)
	j.Await(2, "ready")
	j.Signal(unix.SIGINT)
	j.AwaitStderr("SIGINT: stopping 2 workers")
	j.Signal(unix.SIGTSTP)
	code, stderr := j.Exit()
	ends, err := os.ReadFile(report)
	if code != 130 || err != nil || strings.Contains(string(ends), "SIGKILL") {
		t.Errorf("exit code %d, %v\n%s\n%s", code, err, ends, stderr)
	}
}

// TestOneWishOfTwoSignals: timeout(1) sends its signal to the process and then to
// the group. The workers keep their grace period.
func TestOneWishOfTwoSignals(t *testing.T) {
	j := launchertest.Start(t, nil, append([]string{"run", "--nproc-per-node=2", "--grace=1h"},
		launchertest.Worker("on-int", "100ms")...)...)
	j.Await(2, "ready")
	j.Signal(unix.SIGINT)
	j.Signal(unix.SIGINT)
	code, stderr := j.Exit()
	if code != 130 || strings.Contains(stderr, "killing") {
		t.Errorf("exit code %d\n%s", code, stderr)
	}
}

// TestInheritedChildren: a shell that starts something and then becomes gpulaunch
// keeps it as its child. It is no part of the job.
func TestInheritedChildren(t *testing.T) {
	worker := launchertest.Worker("ignore")
	argv := append([]string{"bash", "-c", `"$0" "$1" "$2" & shift 3; exec "$@"`}, worker[1:]...)
	argv = append(argv, append([]string{"--"}, job("--nproc-per-node=1", "echo", "ran")...)...)
	if _, err := exec.LookPath("bash"); err != nil {
		nvmltest.Unavailable(t, "bash is not here")
	}
	j := launchertest.StartCommand(t, nil, nil, argv...)
	// The two lines come from two processes, and so in either order.
	pid := strings.Join(j.Await(2, `^(?:ran|ready (\d+))$`), "")
	n, _ := strconv.Atoi(pid)
	t.Cleanup(func() { _ = unix.Kill(n, unix.SIGKILL) })
	// It holds the standard output, so the end of that cannot be waited for.
	launchertest.Gone(t, strconv.Itoa(j.Keeper()))
	if err := unix.Kill(n, 0); err != nil {
		t.Errorf("process %d, which was there before: %v", n, err)
	}
	if err := unix.Kill(n, unix.SIGKILL); err != nil {
		t.Error(err)
	}
	j.Exit()
}

// TestOrphanOfInheritedService has a service, which was there before gpulaunch, start a process during
// the job and end. The process comes to the keeper and is no part of the job, however that ends.
func TestOrphanOfInheritedService(t *testing.T) {
	if _, err := exec.LookPath("bash"); err != nil {
		nvmltest.Unavailable(t, "bash is not here")
	}
	const service = `while [ ! -e "$0" ]; do sleep 0.01; done
		sh -c 'setsid sleep 1000 >/dev/null 2>&1 & echo orphan $!'`
	for name, end := range map[string]struct {
		who  func(j *launchertest.Job, worker int) int
		sig  unix.Signal
		code int
	}{
		"a good end": {
			func(_ *launchertest.Job, worker int) int { return worker }, unix.SIGTERM, 0},
		"stopped": {
			func(j *launchertest.Job, _ int) int { return j.Keeper() }, unix.SIGTERM, 143},
		"the supervisor is killed": {
			func(_ *launchertest.Job, worker int) int {
				_, supervisor, _ := ancestors(t, worker)
				return supervisor
			}, unix.SIGKILL, 125},
	} {
		t.Run(name, func(t *testing.T) {
			trigger := filepath.Join(t.TempDir(), "trigger")
			argv := append([]string{"bash", "-c", `sh -c "$0" "$1" & shift; exec "$@"`, service, trigger},
				job(append([]string{"--nproc-per-node=1"}, launchertest.Worker("relay")...)...)...)
			j := launchertest.StartCommand(t, nil, nil, argv...)
			worker, _ := strconv.Atoi(j.Await(1, `ready (\d+)`)[0])
			if err := os.WriteFile(trigger, nil, 0o644); err != nil {
				t.Fatal(err)
			}
			orphan, _ := strconv.Atoi(j.Await(1, `orphan (\d+)`)[0])
			t.Cleanup(func() { _ = unix.Kill(orphan, unix.SIGKILL) })
			// The service ends as well, so only the supervisor and the orphan are the keeper's children.
			launchertest.Poll(func() bool {
				children := launchertest.Children(j.Keeper())
				return len(children) == 2 && slices.Contains(children, orphan)
			})
			// The keeper has noticed when it has passed on what came later.
			j.Signal(unix.SIGUSR1)
			j.Await(1, "got SIGUSR1")
			if err := unix.Kill(end.who(j, worker), end.sig); err != nil {
				t.Fatal(err)
			}
			if code, stderr := j.Exit(); code != end.code {
				t.Errorf("exit code %d, want %d\n%s", code, end.code, stderr)
			}
			if err := unix.Kill(orphan, 0); err != nil {
				t.Errorf("process %d, which the service has started: %v", orphan, err)
			}
			launchertest.Gone(t, strconv.Itoa(worker))
		})
	}
}

// TestHangupUnderNohup: a SIGHUP that is ignored at the start stays ignored, in
// gpulaunch and in its workers; TestSignals shows that it ends a job otherwise.
func TestHangupUnderNohup(t *testing.T) {
	argv := append([]string{"sh", "-c", `trap "" HUP; exec "$@"`, "sh"},
		job(append([]string{"--nproc-per-node=1"}, launchertest.Worker("relay")...)...)...)
	j := launchertest.StartCommand(t, nil, nil, argv...)
	pid, _ := strconv.Atoi(j.Await(1, `ready (\d+)`)[0])
	j.Signal(unix.SIGHUP)
	if err := unix.Kill(pid, unix.SIGHUP); err != nil {
		t.Error(err)
	}
	j.Signal(unix.SIGUSR1)
	j.Await(1, "got SIGUSR1")
	j.Signal(unix.SIGTERM)
	if code, stderr := j.Exit(); code != 143 {
		t.Errorf("exit code %d\n%s", code, stderr)
	}
}

// TestBlockedSignalsAreNotInherited starts gpulaunch from a thread that blocks
// SIGUSR1 and SIGUSR2, as a careless parent does.
func TestBlockedSignalsAreNotInherited(t *testing.T) {
	blocked := unix.Sigset_t{}
	blocked.Val[0] = 1<<(unix.SIGUSR1-1) | 1<<(unix.SIGUSR2-1)
	var before unix.Sigset_t
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := unix.PthreadSigmask(unix.SIG_BLOCK, &blocked, &before); err != nil {
		t.Fatal(err)
	}
	j := launchertest.Start(t, nil, append([]string{"run", "--nproc-per-node=1"},
		launchertest.Worker("report")...)...)
	control := launchertest.StartCommand(t, nil, nil,
		append([]string{os.Args[0]}, launchertest.Worker("report")[2:]...)...)
	if err := unix.PthreadSigmask(unix.SIG_SETMASK, &before, nil); err != nil {
		t.Fatal(err)
	}
	j.Await(1, `"Blocked":"0000000000000000"`)
	control.Await(1, `"Blocked":"0000000000000a00"`) // the negative control
	j.Exit()
	control.Exit()
}

// TestUnreadableSysfs runs where /sys is empty: one line that says what to do,
// and what it says works.
func TestUnreadableSysfs(t *testing.T) {
	if os.Getuid() != 0 {
		nvmltest.Unavailable(t, "only root can hide /sys in a mount namespace")
	}
	if exec.Command("unshare", "--mount", "true").Run() != nil {
		nvmltest.Unavailable(t, "unshare --mount does not work here")
	}
	hidden := []string{"unshare", "--mount", "sh", "-c", `mount -t tmpfs none /sys && exec "$@"`,
		"sh"}
	j := launchertest.StartCommand(t, nil, nil,
		append(hidden, job("--nproc-per-node=1", "echo", "ran")...)...)
	code, stderr := j.Exit()
	if code != 125 || strings.Count(stderr, "\n") != 1 || !strings.Contains(stderr,
		"/sys/devices/system/cpu") || !strings.Contains(stderr, "--affinity=none") {
		t.Errorf("exit code %d\n%s", code, stderr)
	}
	j = launchertest.StartCommand(t, nil, nil,
		append(hidden, job("--nproc-per-node=1", "--affinity=none", "echo", "ran")...)...)
	j.Await(1, "ran")
	if code, stderr := j.Exit(); code != 0 {
		t.Errorf("exit code %d\n%s", code, stderr)
	}
}
