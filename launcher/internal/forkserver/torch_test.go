//go:build linux

package forkserver

import (
	"fmt"
	"os"
	"strconv"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/gpulaunch/gpulaunch/launcher/internal/process"
	"github.com/gpulaunch/gpulaunch/launcher/launchertest"
)

// TestTorch wants each worker to draw its own random numbers, and to use as many threads as its
// environment says.
func TestTorch(t *testing.T) {
	launchertest.BecomeSubreaper(t)
	cfg := modules(t, "torch", "numpy")
	cfg.Argv = []string{launchertest.Python(t, "torch", "numpy"), "-u", data(t, "draws.py")}
	cfg.Environ = environ(t, "OMP_NUM_THREADS=1")
	template := usable(t, cfg)
	allowed := launchertest.AllowedCPUs(t).Max()
	p := run{
		python: cfg.Argv[0], args: cfg.Argv[2:], env: environ(t, "OMP_NUM_THREADS=2"),
		stdin: os.DevNull, cpus: []int{allowed},
	}
	var numpy, python, torch [2]float64
	for i := range 2 {
		r := p.forkedly(t, template)
		var threads, cpu, sum int
		_, err := fmt.Sscanf(r.stdout, "%g %g %g\n%d [%d]\n%d",
			&numpy[i], &python[i], &torch[i], &threads, &cpu, &sum)
		if err != nil || threads != 2 || cpu != allowed || sum != 300*300*300 {
			t.Errorf("draws.py printed %+v (%v), want 2 threads on CPU %d and the sum %d",
				r, err, allowed, 300*300*300)
		}
	}
	if numpy[0] == numpy[1] || python[0] == python[1] || torch[0] == torch[1] {
		t.Errorf("two workers drew the same random numbers: numpy %v, python %v, torch %v",
			numpy, python, torch)
	}
	f := template.Facts()
	t.Logf("the imports took %v, and workers share %d MiB", f.Import, f.Shared>>20)
}

// BenchmarkFork forks workers from a template process with PyTorch. The workers wait until all of
// them have been forked.
func BenchmarkFork(b *testing.B) {
	if err := process.BecomeSubreaper(); err != nil {
		b.Fatal(err)
	}
	template, err := Start(Config{
		Argv:    []string{launchertest.Python(b, "torch", "numpy"), "-u", "testdata/worker.py"},
		Environ: os.Environ(), Folder: b.TempDir(), Preload: []string{"torch"},
	})
	if err != nil {
		b.Fatal(err)
	}
	defer template.Close()
	<-template.Ready()
	in, stdin, err := os.Pipe()
	if err != nil {
		b.Fatal(err)
	}
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		b.Fatal(err)
	}
	spec := Spec{Env: os.Environ(), Files: [3]*os.File{in, null, null}}
	var pids []int
	start, before := time.Now(), ticks(b, template.Facts().PID)
	for b.Loop() {
		pid, err := template.Fork(spec, func(int) error { return nil })
		if err != nil {
			b.Fatal(err)
		}
		pids = append(pids, pid)
	}
	b.ReportMetric(float64(time.Since(start).Milliseconds())/float64(len(pids)), "ms/worker")
	used := ticks(b, append(pids, template.Facts().PID)...) - before
	b.ReportMetric(float64(10*used)/float64(len(pids)), "cpu-ms/worker")
	stdin.Close()
	for _, pid := range pids {
		_, _ = unix.Wait4(pid, nil, 0, nil)
	}
	b.Logf("%+v", template.Facts())
}

// ticks returns the processor time of processes and of the children that they have waited for, in
// hundredths of a second (fields 14 to 17 of proc_pid_stat(5)).
func ticks(b *testing.B, pids ...int) (sum int) {
	b.Helper()
	for _, pid := range pids {
		fields := launchertest.Stat(pid)
		if len(fields) < 15 {
			b.Fatalf("process %d does not exist", pid)
		}
		for _, field := range fields[11:15] {
			n, err := strconv.Atoi(field)
			if err != nil {
				b.Fatal(err)
			}
			sum += n
		}
	}
	return sum
}
