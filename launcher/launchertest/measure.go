//go:build linux

package launchertest

import (
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// Launch runs n workers of program through the whole of gpulaunch run, metrics
// included, and gives the time that it took.
func Launch(b *testing.B, n int, program string) time.Duration {
	b.Helper()
	begin := time.Now()
	// Port 0: benchmarks may run while something else has the default one.
	cmd := exec.Command(Binary, "run", "-q", "--metrics-address=127.0.0.1:0", "--nproc-per-node="+strconv.Itoa(n), program)
	if out, err := cmd.CombinedOutput(); err != nil {
		b.Fatalf("%v\n%s", err, out)
	}
	return time.Since(begin)
}

// ForkExec starts program n times, one after the other, and then waits for all:
// what a launcher cannot do without.
func ForkExec(b *testing.B, n int, program string) time.Duration {
	b.Helper()
	begin := time.Now()
	processes := make([]*os.Process, n)
	for i := range processes {
		p, err := os.StartProcess(program, []string{program}, &os.ProcAttr{Files: []*os.File{nil, os.Stdout, os.Stderr}})
		if err != nil {
			b.Fatal(err)
		}
		processes[i] = p
	}
	for _, p := range processes {
		if state, err := p.Wait(); err != nil || !state.Success() {
			b.Fatal(state, err)
		}
	}
	return time.Since(begin)
}

// Median of a list that is not empty.
func Median(list []time.Duration) time.Duration {
	slices.Sort(list)
	return list[len(list)/2]
}

// Memory sums fields of /proc/PID/smaps_rollup, as "Rss" or "Private_Dirty", in
// bytes.
func Memory(b *testing.B, pid int, fields ...string) float64 {
	b.Helper()
	data, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/smaps_rollup")
	if err != nil {
		b.Fatal(err)
	}
	sum := 0
	for line := range strings.Lines(string(data)) {
		name, value, _ := strings.Cut(line, ":")
		if slices.Contains(fields, name) {
			kibibytes, err := strconv.Atoi(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(value), "kB")))
			if err != nil {
				b.Fatal(err)
			}
			sum += kibibytes << 10
		}
	}
	return float64(sum)
}
