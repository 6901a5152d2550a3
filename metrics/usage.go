package metrics

import (
	"fmt"
	"time"

	"github.com/prometheus/procfs"

	"github.com/gpulaunch/gpulaunch/affinity"
)

// usage is what a process has used so far.
type usage struct {
	// cpu is user and system time of the process and of those of its children that
	// it waited for, as the launcher's own figure at its exit.
	cpu time.Duration
	// resident is its resident memory in bytes.
	resident uint64
}

// tick is the unit of the times in /proc/PID/stat, USER_HZ, which is 100 on
// every architecture that Go runs on under Linux (see time(7)).
const tick = time.Second / 100

// readUsage reads /proc/PID/stat; false when the process is gone.
func readUsage(pid int) (usage, bool) {
	p, err := procfs.NewProc(pid)
	if err != nil {
		return usage{}, false
	}
	stat, err := p.Stat()
	if err != nil {
		return usage{}, false
	}
	ticks := time.Duration(stat.UTime+stat.STime) + time.Duration(stat.CUTime+stat.CSTime)
	return usage{cpu: ticks * tick, resident: uint64(stat.ResidentMemory())}, true
}

// sampleWorkers looks at each running worker once.
func (r *Recorder) sampleWorkers() {
	for rank, pid := range r.running() {
		if u, ok := readUsage(pid); ok {
			r.recordUsage(rank, pid, u)
		}
		if cpus, ok := readCPUs(pid); ok {
			r.recordCPUs(rank, pid, cpus)
		}
	}
}

// readCPUs gives all CPUs that some thread of a process may run on.
func readCPUs(pid int) (cpus affinity.CPUSet, ok bool) {
	threads, err := affinity.CurrentAll(pid)
	for _, set := range threads {
		cpus = cpus.Union(set)
	}
	return cpus, err == nil
}

// recordCPUs compares what a worker has with what it was to get. A library that
// binds threads by itself is told of once; the metric tells when it stops.
func (r *Recorder) recordCPUs(rank, pid int, cpus affinity.CPUSet) {
	r.mu.Lock()
	defer r.mu.Unlock()
	w := r.workers[rank]
	if w == nil || w.pid != pid || w.plan.CPUs.IsEmpty() {
		return
	}
	mine, err := affinity.Current(0)
	lost := w.plan.CPUs.Subtract(mine)
	within := cpus.SubsetOf(w.plan.CPUs) && (err != nil || lost.IsEmpty())
	w.within = &within
	if within || w.warned || r.Warn == nil {
		return
	}
	w.warned = true
	if cpus.SubsetOf(w.plan.CPUs) {
		r.Warn(fmt.Sprintf("warning: rank %d (pid %d) was to have CPUs %s, of which %s may not be used any more: the container's cpuset has changed", rank, pid, w.plan.CPUs, lost))
		return
	}
	r.Warn(fmt.Sprintf("warning: rank %d (pid %d) has threads that may run on CPUs %s, outside of its own %s: something in it binds threads itself, as OMP_PROC_BIND, KMP_AFFINITY or taskset do",
		rank, pid, cpus.Subtract(w.plan.CPUs), w.plan.CPUs))
}
