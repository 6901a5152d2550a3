package monitor

import (
	"fmt"
	"maps"
	"sync"
	"time"

	"github.com/gpulaunch/gpulaunch/affinity"
	"github.com/gpulaunch/gpulaunch/launcher/internal/process"
	"github.com/gpulaunch/gpulaunch/launcher/plan"
	"github.com/gpulaunch/gpulaunch/launcher/report"
)

// WorkerSample is what a worker uses at one moment.
type WorkerSample struct {
	Rank, PID int
	process.Usage
	// WithinCPUs reports whether all its threads keep to the planned CPUs, and those may
	// still be used; nil if that is unknown.
	WithinCPUs *bool
}

// workers are those that run.
type workers struct {
	mu      sync.Mutex
	watched map[int]*watched // by rank
}

// watched is one rank, over all attempts.
type watched struct {
	plan   *plan.Worker
	pid    int  // 0 while none is running
	warned bool // that it does not keep to its CPUs
}

// WorkerStarted begins to look at a worker. What the kernel gave it is compared at once with
// what it was to get: a control group that has changed since the plan was made narrows it in
// silence (sched_setaffinity(2)).
func (m *Monitor) WorkerStarted(w *plan.Worker, pid int) {
	m.workers.mu.Lock()
	defer m.workers.mu.Unlock()
	x := m.workers.watched[w.Rank]
	if x == nil {
		x = &watched{}
		m.workers.watched[w.Rank] = x
	}
	x.plan, x.pid = w, pid
	got, err := affinity.Current(pid)
	if err == nil && !w.CPUs.IsEmpty() && !got.Equal(w.CPUs) {
		m.Observer.Say(fmt.Sprintf("warning: %s runs on CPUs %s instead of %s: the program binds "+
			"itself, or the CPUs that gpulaunch may use have changed", w.Label(pid), got, w.CPUs))
	}
}

// WorkerExited ends the looking at a worker.
func (m *Monitor) WorkerExited(rank int) {
	m.workers.mu.Lock()
	defer m.workers.mu.Unlock()
	if x := m.workers.watched[rank]; x != nil {
		x.pid = 0
	}
}

// XIDs gives the errors of a worker's GPU that have to do with its end, as far as the time
// tells, the earliest first.
func (m *Monitor) XIDs(w *plan.Worker, start, end time.Time) []report.XID {
	return m.log.before(w, start, end)
}

// lookAtWorkers looks at each running worker once.
func (m *Monitor) lookAtWorkers() {
	for rank, pid := range m.workers.running() {
		if u, ok := process.ReadUsage(pid); ok {
			m.Observer.WorkerSampled(WorkerSample{
				Rank: rank, PID: pid, Usage: u, WithinCPUs: m.checkCPUs(rank, pid),
			})
		}
	}
}

// running gives the pids of the workers that run, by rank.
func (w *workers) running() map[int]int {
	w.mu.Lock()
	defer w.mu.Unlock()
	pids := map[int]int{}
	for rank, x := range w.watched {
		pids[rank] = x.pid
	}
	maps.DeleteFunc(pids, func(_, pid int) bool { return pid == 0 })
	return pids
}

// checkCPUs compares the CPUs of all threads of a worker with its planned ones. A library
// that binds threads by itself is told of once.
func (m *Monitor) checkCPUs(rank, pid int) *bool {
	threads, err := affinity.CurrentAll(pid)
	if err != nil {
		return nil
	}
	var cpus affinity.CPUSet
	for _, set := range threads {
		cpus = cpus.Union(set)
	}
	m.workers.mu.Lock()
	defer m.workers.mu.Unlock()
	x := m.workers.watched[rank]
	if x == nil || x.pid != pid || x.plan.CPUs.IsEmpty() {
		return nil
	}
	mine, err := affinity.Current(0)
	lost := x.plan.CPUs.Subtract(mine)
	within := cpus.SubsetOf(x.plan.CPUs) && (err != nil || lost.IsEmpty())
	if !within && !x.warned {
		x.warned = true
		m.Observer.Say(outside(x, cpus, lost))
	}
	return &within
}

// outside says how a worker does not keep to its CPUs.
func outside(x *watched, cpus, lost affinity.CPUSet) string {
	planned := x.plan.CPUs
	if cpus.SubsetOf(planned) {
		return fmt.Sprintf("warning: rank %d (pid %d) was to have CPUs %s, of which %s may not "+
			"be used any more: the container's cpuset has changed", x.plan.Rank, x.pid, planned,
			lost)
	}
	return fmt.Sprintf("warning: rank %d (pid %d) has threads that may run on CPUs %s, outside "+
		"of its own %s: something in it binds threads itself, as OMP_PROC_BIND, KMP_AFFINITY or "+
		"taskset do",
		x.plan.Rank, x.pid, cpus.Subtract(planned), planned)
}
