//go:build linux

package main

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/gpulaunch/gpulaunch/gpu/nvml/nvmltest"
	"github.com/gpulaunch/gpulaunch/launcher/launchertest"
)

// limitPIDs returns what to put before a command line so that the process and its descendants have
// no more than n processes and threads. It uses the pids controller of cgroup version 1.
func limitPIDs(t *testing.T, n int) []string {
	t.Helper()
	limited := filepath.Join("/sys/fs/cgroup/pids",
		"gpulaunch-test-"+time.Now().Format("150405.000000"))
	if err := os.Mkdir(limited, 0o755); err != nil {
		nvmltest.NotOnThisMachine(t,
			"there is no pids controller of cgroup version 1: "+err.Error())
	}
	t.Cleanup(func() {
		if !launchertest.Poll(func() bool { return unix.Rmdir(limited) == nil }) {
			t.Errorf("%s still has members", limited)
		}
	})
	err := os.WriteFile(filepath.Join(limited, "pids.max"), []byte(strconv.Itoa(n)), 0)
	if err != nil {
		t.Fatal(err)
	}
	return []string{"sh", "-c", `echo $$ > "$0" && exec "$@"`,
		filepath.Join(limited, "cgroup.procs")}
}

// filler is a worker that starts processes until there is no room for more, and says so.
const filler = `(while :; do sleep 1000 & done) 2>/dev/null; echo full $$; exec sleep 1000`

// TestPIDsFull has workers that use up all processes, as data loaders do. The launcher must not need
// any more then: it serves 300 scrapes at once, passes signals on, restarts the job and ends it.
func TestPIDsFull(t *testing.T) {
	argv := append(limitPIDs(t, 400), launchertest.Binary, "run", "--nproc-per-node=2",
		"--grace=1s", "--max-restarts=3", "--metrics-address=127.0.0.1:0", "--", "sh", "-c", filler)
	j := launchertest.StartCommand(t, nil, nil, argv...)
	url := regexp.MustCompile(`http://\S+/metrics\n`).FindString(j.AwaitStderr("/metrics\n"))
	url = strings.TrimSpace(url)
	workers := j.Await(2, `full (\d+)`)
	keeper, supervisor := threads(t, j.Keeper()), threads(t, j.Supervisor())
	for range 3 {
		scrapeAtOnce(t, url, 300)
		j.Signal(unix.SIGWINCH)
		pid, _ := strconv.Atoi(workers[0])
		if err := unix.Kill(pid, unix.SIGKILL); err != nil {
			t.Fatal(err)
		}
		workers = j.Await(2, `full (\d+)`)
	}
	scrapeAtOnce(t, url, 300)
	if now := threads(t, j.Keeper()); now != keeper {
		t.Errorf("the keeper has made threads: it had %d and has %d", keeper, now)
	}
	if now := threads(t, j.Supervisor()); now != supervisor {
		t.Errorf("the supervisor has made threads: it had %d and has %d", supervisor, now)
	}
	j.Signal(unix.SIGTERM)
	if code, stderr := j.Exit(); code != 143 {
		t.Errorf("exit code %d\n%s", code, stderr)
	}
}

// threads returns how many threads a process has.
func threads(t *testing.T, pid int) int {
	t.Helper()
	list, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid))
	if err != nil {
		t.Fatal(err)
	}
	return len(list)
}

// scrapeAtOnce asks for the metrics n times at the same time. At least one answer must be complete:
// the server may refuse some of so many.
func scrapeAtOnce(t *testing.T, url string, n int) {
	t.Helper()
	client := &http.Client{Timeout: launchertest.Patience}
	defer client.CloseIdleConnections()
	var wait sync.WaitGroup
	var mu sync.Mutex
	served := 0
	for range n {
		wait.Go(func() {
			r, err := client.Get(url)
			if err != nil {
				return
			}
			defer r.Body.Close()
			text, err := io.ReadAll(r.Body)
			if err == nil && r.StatusCode == http.StatusOK &&
				strings.Contains(string(text), "gpulaunch_worker_info") {
				mu.Lock()
				served++
				mu.Unlock()
			}
		})
	}
	wait.Wait()
	if served == 0 {
		t.Errorf("none of %d scrapes was served", n)
	}
}

// TestThreadsInAdvance checks that a job that lasts has its threads, although no limit is near and it
// has needed few of them so far.
func TestThreadsInAdvance(t *testing.T) {
	j := launchertest.Start(t, nil, append([]string{"run", "--nproc-per-node=1"},
		launchertest.Worker("block")...)...)
	j.Await(1, "ready")
	if !launchertest.Poll(func() bool {
		return threads(t, j.Keeper()) >= 8 && threads(t, j.Supervisor()) >= 16
	}) {
		t.Errorf("the keeper has %d threads and the supervisor %d, want 8 and 16",
			threads(t, j.Keeper()), threads(t, j.Supervisor()))
	}
}

// TestNoRoomForThreads starts a job where not even the launcher's own threads have room.
func TestNoRoomForThreads(t *testing.T) {
	argv := append(limitPIDs(t, 20), job("--nproc-per-node=1", "true")...)
	code, stderr := launchertest.StartCommand(t, nil, nil, argv...).Exit()
	want := "pids.max is 20: raise it\n"
	if code != 125 || !strings.HasSuffix(stderr, want) || strings.Count(stderr, "\n") != 1 {
		t.Errorf("exit code %d, want 125 and one line that ends in %q\n%s", code, want, stderr)
	}
}

// TestNoRoomForThreadsOfUser is the same for the limit of an ordinary user.
func TestNoRoomForThreadsOfUser(t *testing.T) {
	if os.Geteuid() != 0 {
		nvmltest.Unavailable(t, "becoming a user without other processes needs root")
	}
	if _, err := exec.LookPath("setpriv"); err != nil {
		nvmltest.Unavailable(t, "setpriv (util-linux) is not here")
	}
	binary := readableBinary(t)
	for n, code := range map[int]int{8: 125, 20: 125, 500: 0} {
		// A user id without a name, which has no other processes.
		cmd := exec.Command("setpriv", "--reuid=54321", "--clear-groups", "prlimit",
			fmt.Sprintf("--nproc=%d", n), binary, "run", "-q", "--metrics-address=off", "--nproc-per-node=1", "true")
		out, _ := cmd.CombinedOutput()
		if cmd.ProcessState.ExitCode() != code || strings.Count(string(out), "\n") > 1 ||
			code != 0 && !strings.Contains(string(out), fmt.Sprintf("ulimit -u is %d", n)) {
			t.Errorf("ulimit -u %d: %s, want exit code %d\n%s", n, cmd.ProcessState, code, out)
		}
	}
}

// readableBinary returns a copy of the binary that other users may execute.
func readableBinary(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	binary := filepath.Join(dir, "gpulaunch")
	if err := exec.Command("cp", launchertest.Binary, binary).Run(); err != nil {
		t.Fatal(err)
	}
	for path := dir; path != os.TempDir() && path != "/"; path = filepath.Dir(path) {
		if err := os.Chmod(path, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return binary
}
