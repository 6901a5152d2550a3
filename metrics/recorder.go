package metrics

import (
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/gpulaunch/gpulaunch/gpu"
	"github.com/gpulaunch/gpulaunch/launcher"
	"github.com/gpulaunch/gpulaunch/launcher/plan"
	"github.com/gpulaunch/gpulaunch/launcher/report"
)

// Recorder keeps the latest of everything that is told. Its methods may be
// called from any goroutine and never block for long.
type Recorder struct {
	build Build

	mu          sync.Mutex
	started     time.Time
	plan        *plan.Plan
	template    *report.Template
	restarts    int
	workers     map[int]*worker
	inventory   gpu.Inventory
	gpuSample   gpu.Sample
	gpuFailures int
	gpuSampled  bool
	events      map[gpuEvent]uint64
}

// Build says which launcher it is.
type Build struct {
	Version, GoVersion string
}

// worker is what is known of one rank, over all attempts.
type worker struct {
	plan    *plan.Worker
	pid     int // 0 when none is running
	started time.Time
	// pastCPU is the processor time of earlier attempts, cpu that of this one.
	pastCPU, cpu time.Duration
	resident     uint64               // bytes, 0 when nothing is running
	ended        *launcher.ExitStatus // how this attempt ended, nil before
	exits        map[launcher.ExitStatus]int
	within       *bool // whether all threads keep to the planned CPUs; nil if unknown
}

// NewRecorder begins with when the launcher started, and the machine's GPUs.
func NewRecorder(b Build, started time.Time, inv gpu.Inventory) *Recorder {
	return &Recorder{build: b, inventory: inv, started: started, workers: map[int]*worker{}}
}

// Observe takes an event of the job.
func (r *Recorder) Observe(e launcher.Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch e.Kind {
	case launcher.JobStarted:
		r.plan = e.Plan
		for i := range e.Plan.Workers {
			w := &e.Plan.Workers[i]
			r.workers[w.Rank] = &worker{plan: w, exits: map[launcher.ExitStatus]int{}}
		}
	case launcher.TemplateReady:
		r.template = e.Template
	case launcher.JobRestarting:
		r.restarts++
		for i := range e.Plan.Workers {
			if w := r.workers[e.Plan.Workers[i].Rank]; w != nil {
				w.plan = &e.Plan.Workers[i]
			}
		}
	case launcher.WorkerStarted:
		if w := r.workers[e.Rank]; w != nil {
			w.pid, w.started, w.ended, w.within = e.PID, e.Time, nil, nil
			w.pastCPU, w.cpu = w.pastCPU+w.cpu, 0
		}
	case launcher.WorkerSampled:
		r.recordUsage(e)
	case launcher.GPUsSampled:
		r.gpuSample, r.gpuSampled = *e.GPUs, true
	case launcher.GPUsSilent:
		// The figures from before are dropped: a stale one looks like a fresh one.
		r.gpuFailures++
		r.gpuSample, r.gpuSampled = gpu.Sample{}, false
	case launcher.GPUHappening:
		r.recordEvent(*e.GPU)
	case launcher.WorkerExited:
		if w := r.workers[e.Rank]; w != nil {
			w.pid, w.resident, w.cpu, w.within = 0, 0, max(w.cpu, e.CPU), nil
			w.ended = &e.Exit
			counted := e.Exit
			counted.Core = false // the labels do not tell it
			w.exits[counted]++
		}
	}
}

// recordUsage takes what a process used, unless it ended in the meantime.
func (r *Recorder) recordUsage(e launcher.Event) {
	if w := r.workers[e.Rank]; w != nil && w.pid == e.PID {
		w.resident = e.ResidentBytes
		w.cpu = max(w.cpu, e.CPU) // a counter never goes back
		if e.WithinCPUs != nil {
			w.within = e.WithinCPUs
		}
	}
}

// ranks lists the known ranks in order.
func (r *Recorder) ranks() []int { return slices.Sorted(maps.Keys(r.workers)) }

// workerCount returns how many workers the job has on this machine.
func (r *Recorder) workerCount() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.workers)
}
