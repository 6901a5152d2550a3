//go:build linux

package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/gpulaunch/gpulaunch/gpu/nvml/nvmltest"
	"github.com/gpulaunch/gpulaunch/launcher/launchertest"
	"github.com/gpulaunch/gpulaunch/launcher/machine"
)

// asPID1 begins a command line in a process namespace of its own, where
// gpulaunch is the first process, as in a container.
func asPID1(t *testing.T) []string {
	t.Helper()
	unshare := []string{"unshare", "--pid", "--fork", "--kill-child", "--mount", "--mount-proc"}
	if exec.Command(unshare[0], append(unshare[1:], "true")...).Run() != nil {
		nvmltest.Unavailable(t, "a process namespace needs root and unshare")
	}
	return unshare
}

func TestFirstProcessOfAContainer(t *testing.T) {
	unshare := asPID1(t)
	t.Run("exit code", func(t *testing.T) {
		j := launchertest.StartCommand(t, nil, nil,
			append(unshare, job(append([]string{"--nproc-per-node=2"},
				launchertest.Worker("fail", "1", "3")...)...)...)...)
		if code, stderr := j.Exit(); code != 3 {
			t.Errorf("exit code %d\n%s", code, stderr)
		}
	})
	t.Run("orphans", func(t *testing.T) {
		j := launchertest.StartCommand(t, nil, nil,
			append(unshare, job(append([]string{"--nproc-per-node=2", "--grace=0.2"},
				launchertest.Worker("leave", "ignore")...)...)...)...)
		if code, stderr := j.Exit(); code != 0 ||
			!strings.Contains(stderr, "killed 2 processes that workers left behind") {
			t.Errorf("exit code %d\n%s", code, stderr)
		}
	})
	t.Run("signal", func(t *testing.T) {
		j := launchertest.StartCommand(t, nil, nil, append(unshare,
			job(append([]string{"--nproc-per-node=2"}, launchertest.Worker("block")...)...)...)...)
		j.Await(2, "ready")
		// The keeper is the only child of unshare.
		if err := unix.Kill(j.Supervisor(), unix.SIGTERM); err != nil {
			t.Fatal(err)
		}
		if code, stderr := j.Exit(); code != 143 {
			t.Errorf("exit code %d\n%s", code, stderr)
		}
	})
}

func TestJobCgroup(t *testing.T) {
	place := machine.FindCgroup()
	if place.Parent == "" {
		nvmltest.NotOnThisMachine(t, "no control group can be made: "+place.Reason)
	}
	groups := func() []string {
		list, _ := filepath.Glob(filepath.Join(place.Parent, "gpulaunch-*"))
		return list
	}
	j := launchertest.Start(t, nil, append([]string{"run", "--nproc-per-node=2", "--grace=0.1"},
		launchertest.Worker("ignore")...)...)
	pids := j.Await(2, `ready (\d+)`)
	supervisor := j.Supervisor()
	own := filepath.Join(place.Parent, filepath.Base(groupOf(t, pids[0])))
	if !strings.Contains(own, "gpulaunch-job-"+strconv.Itoa(supervisor)) ||
		groupOf(t, pids[0]) != groupOf(t, pids[1]) {
		t.Errorf("the workers are in %s and %s", groupOf(t, pids[0]), groupOf(t, pids[1]))
	}
	// The supervisor is killed, so it is the keeper that has to remove the group.
	if err := unix.Kill(supervisor, unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	j.Exit()
	launchertest.Gone(t, pids...)
	if _, err := os.Stat(own); err == nil {
		t.Errorf("%s is still there", own)
	}

	j = launchertest.Start(t, nil, append([]string{"run", "--cgroup=off", "--nproc-per-node=1"},
		launchertest.Worker("block")...)...)
	pid := j.Await(1, `ready (\d+)`)[0]
	if at := groupOf(t, pid); strings.Contains(at, fmt.Sprintf("gpulaunch-job-%d-", j.Supervisor())) {
		t.Errorf("with --cgroup=off the worker is in %s; groups are %v", at, groups())
	}
	j.Signal(unix.SIGTERM)
	j.Exit()
}

// TestSweepOff: what a job that ended well leaves behind may go on, and what one
// that was stopped leaves behind may not.
func TestSweepOff(t *testing.T) {
	j := launchertest.Start(t, nil, append([]string{"run", "--sweep=off", "--nproc-per-node=1",
		"--output=prefix"}, launchertest.Worker("leave", "ignore")...)...)
	text := j.Await(1, `ready (\d+)`)[0]
	if code, stderr := j.Exit(); code != 0 || strings.Contains(stderr, "left behind") {
		t.Errorf("exit code %d\n%s", code, stderr)
	}
	pid, _ := strconv.Atoi(text)
	if err := unix.Kill(pid, unix.SIGKILL); err != nil {
		t.Errorf("process %d, which was left behind: %v", pid, err)
	}
	launchertest.Gone(t, text)

	j = launchertest.Start(t, nil, append([]string{"run", "--sweep=off", "--nproc-per-node=1",
		"--output=prefix", "--grace=0.1"}, launchertest.Worker("leave-and-block", "ignore")...)...)
	pids := j.Await(2, `ready (\d+)`)
	j.Signal(unix.SIGTERM)
	if code, stderr := j.Exit(); code != 143 ||
		!strings.Contains(stderr, "killed 1 process that workers left behind") {
		t.Errorf("exit code %d\n%s", code, stderr)
	}
	launchertest.Gone(t, pids...)
}
