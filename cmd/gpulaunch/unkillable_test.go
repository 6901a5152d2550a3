//go:build linux

package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/gpulaunch/gpulaunch/gpu/nvml/nvmltest"
	"github.com/gpulaunch/gpulaunch/launcher/launchertest"
)

// TestUnkillable has a worker that nobody can kill: one in a frozen group of the
// old freezer (cgroup version 1) acts on SIGKILL only when it is thawed. gpulaunch
// names it and leaves, with the code that it would have had.
func TestUnkillable(t *testing.T) {
	freezer := filepath.Join("/sys/fs/cgroup/freezer",
		"gpulaunch-test-"+time.Now().Format("150405.000000"))
	if err := os.Mkdir(freezer, 0o755); err != nil {
		nvmltest.NotOnThisMachine(t, "there is no freezer of cgroup version 1: "+err.Error())
	}
	set := func(file, value string) {
		if err := os.WriteFile(filepath.Join(freezer, file), []byte(value), 0); err != nil {
			t.Error(err)
		}
	}
	j := launchertest.Start(t, nil, append([]string{"run", "--nproc-per-node=2", "--grace=0.1"},
		launchertest.Worker("block")...)...)
	pids := j.Await(2, `ready (\d+)`)
	t.Cleanup(func() {
		set("freezer.state", "THAWED")
		launchertest.Gone(t, pids...)
		if err := unix.Rmdir(freezer); err != nil {
			t.Error(err)
		}
	})
	set("cgroup.procs", pids[1])
	set("freezer.state", "FROZEN")
	j.Signal(unix.SIGTERM)
	code, stderr := j.Exit()
	if code != 143 || !strings.Contains(stderr, "1 process cannot be killed: "+pids[1]+" (") ||
		!strings.Contains(stderr, "state D") {
		t.Errorf("exit code %d\n%s", code, stderr)
	}
	launchertest.Gone(t, pids[0])
}
