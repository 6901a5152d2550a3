//go:build linux

package main

import (
	"os"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/gpulaunch/gpulaunch/gpu/nvml/nvmltest"
	"github.com/gpulaunch/gpulaunch/launcher/launchertest"
)

// groupOf returns the version 2 control group of a process, or "" where there is no such hierarchy.
func groupOf(t *testing.T, pid string) string {
	t.Helper()
	data, err := os.ReadFile("/proc/" + pid + "/cgroup")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(data)) {
		if path, ok := strings.CutPrefix(line, "0::"); ok {
			return strings.TrimSpace(path)
		}
	}
	return ""
}

// requireGroup skips the test unless a process is in the control group of a job.
func requireGroup(t *testing.T, pid string) {
	t.Helper()
	if !strings.Contains(groupOf(t, pid), "gpulaunch-job-") {
		nvmltest.NotOnThisMachine(t, "jobs get no control group: cgroup v2 is not writable")
	}
}

// TestNextJobEndsWhatIsLeft kills both processes of a job at once, so that what its worker has
// started is left. The next job ends it.
func TestNextJobEndsWhatIsLeft(t *testing.T) {
	j := launchertest.Start(t, nil, append([]string{"run", "--nproc-per-node=1"},
		launchertest.Worker("leave-and-block", "ignore")...)...)
	pids := j.Await(2, `ready (\d+)`)
	left, worker := pids[0], pids[1]
	requireGroup(t, worker)
	// A stopped process cannot act when the other one is killed.
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
	launchertest.Gone(t, worker)
	n, _ := strconv.Atoi(left)
	if err := unix.Kill(n, 0); err != nil {
		t.Fatalf("process %s, which the worker has started, should have been left: %v", left, err)
	}
	next := launchertest.Start(t, nil, "run", "--nproc-per-node=1", "true")
	launchertest.Gone(t, left)
	code, stderr := next.Exit()
	if code != 0 {
		t.Errorf("exit code %d\n%s", code, stderr)
	}
	// Another job of this machine's tests may have been the next one.
	if strings.Contains(stderr, "ended ") && !strings.Contains(stderr, left+" (") {
		t.Errorf("%s is not named:\n%s", left, stderr)
	}
	j.Exit()
}

// TestNextJobSparesWhatWasLeftOnPurpose is the negative control: with --sweep=off, what a job leaves
// behind lives on, also when the next job begins.
func TestNextJobSparesWhatWasLeftOnPurpose(t *testing.T) {
	j := launchertest.Start(t, nil, append([]string{"run", "--nproc-per-node=1", "--sweep=off"},
		launchertest.Worker("leave", "ignore")...)...)
	left := j.Await(1, `ready (\d+)`)[0]
	n, _ := strconv.Atoi(left)
	t.Cleanup(func() { _ = unix.Kill(n, unix.SIGKILL) })
	launchertest.Gone(t, strconv.Itoa(j.Keeper()))
	if group := groupOf(t, left); strings.Contains(group, "gpulaunch-job-") {
		t.Errorf("process %s is still in the job's control group %s", left, group)
	}
	next := launchertest.Start(t, nil, "run", "--nproc-per-node=1", "true")
	if code, stderr := next.Exit(); code != 0 || strings.Contains(stderr, left+" (") {
		t.Errorf("exit code %d\n%s", code, stderr)
	}
	if err := unix.Kill(n, 0); err != nil {
		t.Errorf("process %s, which was left on purpose: %v", left, err)
	}
}
