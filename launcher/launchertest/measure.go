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

// Launch runs n workers that execute program with gpulaunch run, metrics included, and returns
// how long that took.
func Launch(b *testing.B, n int, program string) time.Duration {
	b.Helper()
	// With port 0, benchmarks can run while the default port is in use.
	return Run(b, Binary, "run", "-q", "--metrics-address=127.0.0.1:0",
		"--nproc-per-node="+strconv.Itoa(n), program)
}

// Run runs a command, whose output it reads, and returns how long that took.
func Run(b *testing.B, name string, args ...string) time.Duration {
	b.Helper()
	begin := time.Now()
	if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
		b.Fatalf("%v\n%s", err, out)
	}
	return time.Since(begin)
}

// ForkExec starts program n times, one after the other, then waits for all of them, and returns
// how long that took. No launcher can do with less.
func ForkExec(b *testing.B, n int, program string) time.Duration {
	b.Helper()
	begin := time.Now()
	processes := make([]*os.Process, n)
	for i := range processes {
		files := []*os.File{nil, os.Stdout, os.Stderr}
		p, err := os.StartProcess(program, []string{program}, &os.ProcAttr{Files: files})
		if err != nil {
			b.Fatal(err)
		}
		processes[i] = p
	}
	for _, p := range processes {
		if state, err := p.Wait(); err != nil || !state.Success() {
			b.Fatalf("%s: %s (%v)", program, state, err)
		}
	}
	return time.Since(begin)
}

// Median returns the median of a list that is not empty.
func Median(list []time.Duration) time.Duration {
	return slices.Sorted(slices.Values(list))[len(list)/2]
}

// Memory returns the sum of fields of /proc/PID/smaps_rollup, such as "Rss" or "Private_Dirty",
// in bytes.
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
			number := strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(value), "kB"))
			kibibytes, err := strconv.Atoi(number)
			if err != nil {
				b.Fatal(err)
			}
			sum += kibibytes << 10
		}
	}
	return float64(sum)
}
