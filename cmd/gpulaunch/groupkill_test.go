//go:build linux

package main

import (
	"os/exec"
	"strconv"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/gpulaunch/gpulaunch/gpu/nvml/nvmltest"
	"github.com/gpulaunch/gpulaunch/launcher/launchertest"
)

// stubborn is a worker that starts a process in a session of its own. Neither ends at SIGTERM, and
// both announce themselves.
var stubborn = launchertest.Worker("leave-and-block", "ignore")

// stubbornJob returns the command line of a job of two such workers, which stop only when killed.
func stubbornJob(flags ...string) []string {
	return job(append(append([]string{"--nproc-per-node=2", "--grace=1h"}, flags...),
		stubborn...)...)
}

// startStubborn starts a job with such workers, and returns the pids of all four processes.
func startStubborn(t *testing.T, before ...string) (j *launchertest.Job, pids []string) {
	t.Helper()
	j = launchertest.StartCommand(t, nil, nil, append(before, stubbornJob()...)...)
	return j, j.Await(4, `ready (\d+)`)
}

// TestTimeoutKills has timeout(1) end a job whose processes ignore SIGTERM. It kills its own
// process group, to which the keeper belongs but not the supervisor.
func TestTimeoutKills(t *testing.T) {
	if _, err := exec.LookPath("timeout"); err != nil {
		nvmltest.Unavailable(t, "timeout is not here")
	}
	for _, c := range []struct {
		name string
		argv []string
		sig  unix.Signal // makes timeout act as if the time had passed
	}{
		{"-k", []string{"timeout", "-k", "0.1", "3600"}, unix.SIGALRM},
		{"-s KILL", []string{"timeout", "-s", "KILL", "3600"}, unix.SIGALRM},
		{"-k, terminated itself", []string{"timeout", "-k", "0.1", "3600"}, unix.SIGTERM},
	} {
		t.Run(c.name, func(t *testing.T) {
			j, pids := startStubborn(t, c.argv...)
			j.Signal(c.sig)
			launchertest.Gone(t, pids...)
			j.Exit()
		})
	}
}

// TestGroupKilled kills the process group of the process that the user started.
func TestGroupKilled(t *testing.T) {
	if _, err := exec.LookPath("setsid"); err != nil {
		nvmltest.Unavailable(t, "setsid is not here")
	}
	// setsid makes a group of the launcher, which the test is not a member of.
	j, pids := startStubborn(t, "setsid", "--wait")
	keeper := launchertest.Children(j.Keeper())
	if len(keeper) != 1 {
		keeper = []int{j.Keeper()} // setsid did not need to fork
	}
	supervisor := launchertest.Children(keeper[0])
	if err := unix.Kill(-keeper[0], unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	for _, pid := range supervisor {
		pids = append(pids, strconv.Itoa(pid))
	}
	launchertest.Gone(t, pids...)
	j.Exit()
}

// TestShellKillsJob types kill -9 %1, which a shell sends to the process group of the job.
func TestShellKillsJob(t *testing.T) {
	x := openTerminal(t)
	x.run("--nproc-per-node=1 --grace=1h", "leave-and-block", "ignore")
	pids := []string{x.await(`ready (\d+)`), x.await(`ready (\d+)`)}
	x.write("\x1a")
	x.await("Stopped")
	x.write("kill -9 %1\n")
	launchertest.Gone(t, pids...)
}

// TestSharedTerminal is the negative control for the tests above. After stty tostop, the supervisor
// has to be in the keeper's group. Both are killed with the group, and of the job only the workers.
func TestSharedTerminal(t *testing.T) {
	x := openTerminal(t)
	x.write("stty tostop\n")
	x.run("--nproc-per-node=1 --grace=1h --output=prefix", "leave-and-block", "ignore")
	left, worker := x.await(`ready (\d+)`), x.await(`ready (\d+)`)
	pid, _ := strconv.Atoi(worker)
	_, supervisor, keeper := ancestors(t, pid)
	group, err := unix.Getpgid(supervisor)
	if err != nil || group != keeper {
		t.Errorf("the supervisor is in process group %d (%v), want %d", group, err, keeper)
	}
	if err := unix.Kill(-keeper, unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	launchertest.Gone(t, worker, strconv.Itoa(supervisor))
	n, _ := strconv.Atoi(left)
	if err := unix.Kill(n, unix.SIGKILL); err != nil {
		t.Errorf("process %d, which the worker has started: %v", n, err)
	}
	launchertest.Gone(t, left)
}

// TestStoppedSupervisor stops the supervisor, which then must not keep the job from ending.
func TestStoppedSupervisor(t *testing.T) {
	for name, c := range map[string]struct {
		sig  unix.Signal
		code int
	}{"keeper killed": {unix.SIGKILL, -1}, "keeper asked twice": {unix.SIGTERM, 143}} {
		t.Run(name, func(t *testing.T) {
			j, pids := startStubborn(t)
			supervisor := j.Supervisor()
			if err := unix.Kill(supervisor, unix.SIGSTOP); err != nil {
				t.Fatal(err)
			}
			awaitState(t, strconv.Itoa(supervisor), "T")
			j.Signal(c.sig)
			if c.sig == unix.SIGTERM {
				j.AwaitStderr("SIGTERM: stopping 2 workers")
				launchertest.AwaitSignalWindow()
				j.Signal(c.sig)
			}
			launchertest.Gone(t, append(pids, strconv.Itoa(supervisor))...)
			if code, stderr := j.Exit(); code != c.code {
				t.Errorf("exit code %d, want %d\n%s", code, c.code, stderr)
			}
		})
	}
}

// TestStoppedKeeper stops the keeper and kills the supervisor. The workers are killed at once by
// the kernel, and what they have started when the keeper is continued: a stopped process cannot
// act.
func TestStoppedKeeper(t *testing.T) {
	j, pids := startStubborn(t)
	keeper, supervisor := j.Keeper(), j.Supervisor()
	j.Signal(unix.SIGSTOP)
	awaitState(t, strconv.Itoa(keeper), "T")
	if err := unix.Kill(supervisor, unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	launchertest.Gone(t, strconv.Itoa(supervisor))
	var workers []string
	for _, pid := range pids {
		n, _ := strconv.Atoi(pid)
		if _, err := unix.Getsid(n); err == nil && launchertest.Stat(n)[3] != pid {
			workers = append(workers, pid) // not the leader of a session
		}
	}
	launchertest.Gone(t, workers...)
	j.Signal(unix.SIGCONT)
	launchertest.Gone(t, pids...)
	if code, stderr := j.Exit(); code != 125 {
		t.Errorf("exit code %d\n%s", code, stderr)
	}
}
