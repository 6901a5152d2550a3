//go:build linux

package main

import (
	"strconv"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/gpulaunch/gpulaunch/launcher/launchertest"
)

// imported is what it took until all workers had imported PyTorch.
type imported struct {
	wall, cpu time.Duration
	private   float64 // bytes, of all workers
}

func importTorch(b *testing.B, python string, workers int, flags ...string) (m imported) {
	begin := time.Now()
	args := append([]string{"run", "-q", "--nproc-per-node=" + strconv.Itoa(workers),
		"--output=prefix"}, flags...)
	j := launchertest.Start(b, []string{"PYTHON_EXEC=" + python},
		append(args, "../../launcher/testdata/imports.py")...)
	pids := j.Await(workers, `imported torch (\d+)`)
	m.wall = time.Since(begin)
	for _, text := range pids {
		pid, _ := strconv.Atoi(text)
		m.private += launchertest.Memory(b, pid, "Private_Clean", "Private_Dirty")
	}
	j.Signal(unix.SIGTERM)
	j.Exit()
	m.cpu = j.CPU()
	return m
}

// BenchmarkStartMethods starts one worker that imports PyTorch, and eight, by both
// start methods. Each round measures all, so that their ratios are those of one
// moment.
func BenchmarkStartMethods(b *testing.B) {
	python := launchertest.Python(b, "torch")
	var one, exec, fork []time.Duration
	var execCPU, forkCPU []time.Duration
	var execMemory, forkMemory float64
	for b.Loop() {
		one = append(one, importTorch(b, python, 1).wall)
		e := importTorch(b, python, 8)
		f := importTorch(b, python, 8, "--start-method=forkserver", "--preload=torch")
		exec, execCPU, execMemory = append(exec, e.wall), append(execCPU, e.cpu), e.private
		fork, forkCPU, forkMemory = append(fork, f.wall), append(forkCPU, f.cpu), f.private
	}
	milliseconds(b, one, "one-ms")
	milliseconds(b, exec, "exec-ms")
	milliseconds(b, fork, "forkserver-ms")
	b.ReportMetric(float64(launchertest.Median(fork))/float64(launchertest.Median(one)),
		"forkserver/one")
	b.ReportMetric(float64(launchertest.Median(forkCPU))/float64(launchertest.Median(execCPU)),
		"forkserver-cpu/exec-cpu")
	b.ReportMetric(execMemory/(1<<20), "exec-private-MiB")
	b.ReportMetric(forkMemory/(1<<20), "forkserver-private-MiB")
}
