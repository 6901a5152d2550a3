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
)

// Nuisances happen to a job in addition to its faults, and change nothing about its end.
const (
	attackMetrics kind = "many clients of /metrics that do not go on"
	cleanTemp     kind = "a cleaner of TMPDIR"
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
