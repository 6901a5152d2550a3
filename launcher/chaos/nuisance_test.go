//go:build linux

package chaos

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/gpulaunch/gpulaunch/launcher/launchertest"
)

// Nuisances happen to a job in addition to its faults, and change nothing about its end.
const (
	attackMetrics kind = "many clients of /metrics that do not go on"
	cleanTemp     kind = "a cleaner of TMPDIR"
	fillPIDs      kind = "no more processes and threads"
)

// attackers is how many connections an attack of /metrics has. It is more than a job permits.
const attackers = 60

// addNuisances adds some nuisances at random. They need a job that is complete.
func (s *scenario) addNuisances(rng *rand.Rand) {
	attack, clean, full := rng.IntN(4) == 0, rng.IntN(4) == 0, rng.IntN(4) == 0
	if full && s.Faults[len(s.Faults)-1].Kind != endWorkers { // a lost report makes a good job fail
		s.Flags = append(s.Flags, "--report=/dev/full")
	}
	if s.Faults[0].When != whenReady {
		return
	}
	if attack {
		s.Flags = append(s.Flags, "--metrics-address=127.0.0.1:0")
		s.Faults = slices.Insert(s.Faults, 0, fault{Kind: attackMetrics, When: whenReady})
	}
	if clean {
		s.Faults = slices.Insert(s.Faults, 0, fault{Kind: cleanTemp, When: whenReady})
	}
	// The workers are Go programs, too, and might abort for want of a thread: nothing may depend on
	// how they end.
	asked := []kind{sendTERM, sendINT, sendHUP, killKeeper, killSupervisor, killGroup}
	if rng.IntN(4) == 0 && slices.Contains(asked, s.Faults[len(s.Faults)-1].Kind) &&
		!slices.Contains(s.Flags, "--max-restarts=1") && pidsRoot() != "" {
		last := len(s.Faults) - 1
		s.Faults = slices.Insert(s.Faults, last, fault{Kind: fillPIDs, When: s.Faults[last].When})
		s.Faults[last+1].When, s.Faults[last+1].Delay = next, 0
	}
}

// pidsRoot returns where the pids controller of cgroup version 1 is mounted, or "" if it is not or
// no group can be made there. It can be used beside a version 2 hierarchy with the jobs' groups.
var pidsRoot = sync.OnceValue(func() string {
	const root = "/sys/fs/cgroup/pids"
	path, err := os.MkdirTemp(root, "gpulaunch-chaos-")
	if err != nil {
		return ""
	}
	_ = os.Remove(path)
	return root
})

// limited returns a command line that runs argv in a new group of the pids controller, which done
// removes. It is argv itself where there is no such controller.
func limited(t testing.TB, argv []string) (all []string, done func()) {
	if pidsRoot() == "" {
		return argv, func() {}
	}
	path, err := os.MkdirTemp(pidsRoot(), "gpulaunch-chaos-")
	if err != nil {
		t.Fatal(err)
	}
	enter := []string{"/bin/sh", "-c", `echo $$ >"$0" && exec "$@"`, filepath.Join(path, "cgroup.procs")}
	return append(enter, argv...), func() {
		if !launchertest.Poll(func() bool { return os.Remove(path) == nil }) {
			t.Errorf("cannot remove %s: its processes are still alive", path)
		}
	}
}

// fillPIDs permits no more processes and threads than there are.
func (h *host) fillPIDs() error {
	own, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return err
	}
	for line := range strings.Lines(string(own)) {
		if _, path, ok := strings.Cut(strings.TrimSpace(line), ":pids:"); ok {
			group := filepath.Join(pidsRoot(), path)
			now, err := os.ReadFile(filepath.Join(group, "pids.current"))
			if err != nil {
				return err
			}
			return os.WriteFile(filepath.Join(group, "pids.max"), now, 0)
		}
	}
	return errors.New("this process is in no group of the pids controller")
}

// metricsAddress is how the job says where its metrics are.
var metricsAddress = regexp.MustCompile(`metrics are on http://(\S+)/metrics`)

// attackMetrics opens connections that stay open as long as this process lives. Every other one
// sends a request without its body.
func (h *host) attackMetrics() error {
	var found []string
	if !h.until(patience, func() bool {
		found = metricsAddress.FindStringSubmatch(h.stderr.String())
		return found != nil
	}) {
		return fmt.Errorf("the job does not say within %s where its metrics are", patience)
	}
	for i := range attackers {
		conn, err := net.Dial("tcp", found[1])
		if err != nil {
			return err
		}
		h.attackers = append(h.attackers, conn)
		if i%2 == 0 {
			// The job may have closed the connection in favour of a newer one.
			_, _ = io.WriteString(conn,
				"GET /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n")
		}
	}
	return nil
}

// removeFolders removes the job's private folder.
func removeFolders() error {
	list, err := filepath.Glob(filepath.Join(os.TempDir(), "gpulaunch-*"))
	for _, path := range list {
		err = errors.Join(err, os.RemoveAll(path))
	}
	return err
}
