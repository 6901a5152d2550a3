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

// WorkerSample says what a worker uses at one moment.
type WorkerSample struct {
	Rank, PID int
	process.Usage
	// WithinCPUs says whether all of its threads keep to the planned CPUs and may still use those;
	// nil if that is unknown.
	WithinCPUs *bool
}

// workers holds the workers that are sampled.
type workers struct {
	mu      sync.Mutex
	watched map[int]*watchedWorker // by rank
}

// watchedWorker is the worker of one rank, over all attempts.
type watchedWorker struct {
	plan   *plan.Worker
	pid    int  // 0 while none is running
	warned bool // the user has been warned that it does not keep to its CPUs
}

// WorkerStarted begins to sample a worker. It compares at once the CPUs that the kernel has given
// it with those of its plan: if a control group has changed since the plan was made, the kernel
// narrows them without an error (sched_setaffinity(2)).
func (m *Monitor) WorkerStarted(w *plan.Worker, pid int) {
	m.workers.mu.Lock()
	defer m.workers.mu.Unlock()
	watched := m.workers.watched[w.Rank]
	if watched == nil {
		watched = &watchedWorker{}
		m.workers.watched[w.Rank] = watched
	}
	watched.plan, watched.pid = w, pid
	got, err := affinity.Current(pid)
	if err == nil && !w.CPUs.IsEmpty() && !got.Equal(w.CPUs) {
		m.Observer.Log(fmt.Sprintf("warning: %s runs on CPUs %s instead of %s: the program binds "+
			"itself, or the CPUs that gpulaunch may use have changed", w.Label(pid), got, w.CPUs))
	}
}

// WorkerExited stops sampling the worker of a rank.
func (m *Monitor) WorkerExited(rank int) {
	m.workers.mu.Lock()
	defer m.workers.mu.Unlock()
	if watched := m.workers.watched[rank]; watched != nil {
		watched.pid = 0
	}
}

// XIDs returns the XIDs of a worker's GPU that may have to do with its end, as far as their time
// tells, the earliest first.
func (m *Monitor) XIDs(w *plan.Worker, start, end time.Time) []report.XID {
	return m.xids.before(w, start, end)
}

// sampleWorkers takes a sample of each worker that runs.
func (m *Monitor) sampleWorkers() {
	for rank, pid := range m.workers.running() {
		if u, ok := process.ReadUsage(pid); ok {
			m.Observer.WorkerSampled(WorkerSample{
				Rank: rank, PID: pid, Usage: u, WithinCPUs: m.checkCPUs(rank, pid),
			})
		}
	}
}

// running returns the pids of the workers that run, by rank.
func (w *workers) running() map[int]int {
	w.mu.Lock()
	defer w.mu.Unlock()
	pids := map[int]int{}
	for rank, watched := range w.watched {
		pids[rank] = watched.pid
	}
	maps.DeleteFunc(pids, func(_, pid int) bool { return pid == 0 })
	return pids
}

// checkCPUs reports whether all threads of a worker keep to its planned CPUs, and warns once if
// they do not, because a library may bind threads by itself. It returns nil if that is unknown.
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
	watched := m.workers.watched[rank]
	if watched == nil || watched.pid != pid || watched.plan.CPUs.IsEmpty() {
		return nil
	}
	mine, err := affinity.Current(0)
	lost := watched.plan.CPUs.Subtract(mine)
	within := cpus.SubsetOf(watched.plan.CPUs) && (err != nil || lost.IsEmpty())
	if !within && !watched.warned {
		watched.warned = true
		m.Observer.Log(outsideWarning(watched, cpus, lost))
	}
	return &within
}

// outsideWarning returns the warning for a worker that does not keep to its CPUs.
func outsideWarning(w *watchedWorker, cpus, lost affinity.CPUSet) string {
	planned := w.plan.CPUs
	if cpus.SubsetOf(planned) {
		return fmt.Sprintf("warning: rank %d (pid %d) was to have CPUs %s, of which %s may not "+
			"be used any more: the container's cpuset has changed", w.plan.Rank, w.pid, planned,
			lost)
	}
	return fmt.Sprintf("warning: rank %d (pid %d) has threads that may run on CPUs %s, outside "+
		"of its own %s: something in it binds threads itself, as OMP_PROC_BIND, KMP_AFFINITY or "+
		"taskset do",
		w.plan.Rank, w.pid, cpus.Subtract(planned), planned)
}
