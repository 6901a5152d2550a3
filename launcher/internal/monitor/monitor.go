// Package monitor watches a job's workers and GPUs while it runs, whether or not anything scrapes
// its metrics.
//
// A [Monitor] samples what the workers use and which CPUs they may run on, samples the GPUs, and
// receives the errors that their driver reports (XIDs). It passes all of that to an [Observer],
// logs a line for each thing that a user should know, such as a GPU that is lost or a driver that
// hangs, and remembers XIDs and losses, so that the report of a failure can have them.
//
// # Goroutines
//
// One goroutine samples the workers and one samples the GPUs. Both end with Close. GPU events
// arrive in goroutines of their source, and a timer runs for each event that is only being counted.
package monitor

import (
	"context"
	"sync"
	"time"

	"github.com/gpulaunch/gpulaunch/gpu"
	"github.com/gpulaunch/gpulaunch/launcher/plan"
)

const (
	// interval is how often workers and GPUs are sampled.
	interval = 5 * time.Second
	// firstSample is when they are sampled for the first time: early enough for a user who looks
	// right after the start, and late enough not to compete with the start of the workers.
	firstSample = 500 * time.Millisecond
)

// GPUs is where a Monitor gets samples and events of the machine's GPUs from. Its methods may be
// called from any goroutine. A query returns when its context ends.
type GPUs interface {
	// Sample takes a sample of all GPUs.
	Sample(context.Context) (gpu.Sample, error)
	// Inventory returns the GPUs with the processes on them.
	Inventory(context.Context) (gpu.Inventory, error)
	// Subscribe calls onEvent for each event of a GPU, including those since the GPUs were first
	// asked for. It calls onSilence with the reason if no events come, or not from all GPUs, and
	// with "" when they come again. Neither may block.
	Subscribe(onEvent func(gpu.Event), onSilence func(reason string))
}

// Observer receives what a Monitor finds. Its functions are called from several goroutines and must
// not block.
type Observer struct {
	// GPUsSampled receives a sample of the GPUs. GPUsSilent receives the reason why there is none.
	GPUsSampled func(gpu.Sample)
	GPUsSilent  func(reason string)
	// GPUEvent receives each event of a GPU, whether the GPU is the job's or not.
	GPUEvent func(gpu.Event)
	// EventsSilent receives the reason why no events come from the job's GPUs, and "" when they
	// come again.
	EventsSilent func(reason string)
	// WorkerSampled receives a sample of a worker.
	WorkerSampled func(WorkerSample)
	// Log receives one line for the user.
	Log func(line string)
	// Fatal is called at most once: for the first XID after which a GPU of the job cannot be relied
	// on. line describes it.
	Fatal func(line string)
}

// Options says what is monitored.
type Options struct {
	// Plan is that of the first attempt.
	Plan plan.Plan
	// GPUs is nil if there are none.
	GPUs GPUs
	// Before has the machine's GPUs as they were before the job.
	Before gpu.Inventory
	// Ours returns the pids of the processes of the job that are left after its end.
	Ours     func() map[int]bool
	Observer Observer
}

// Monitor watches one job. Its methods may be called from any goroutine.
type Monitor struct {
	Options
	stop context.CancelFunc
	done sync.WaitGroup

	planMu  sync.Mutex
	planned plan.Plan // of the current attempt

	workers workers
	queries gpuQueries
	losses  lossLog
	events  eventPrinter
	xids    *xidLog
}

// New returns a Monitor, which does nothing before Start.
func New(o Options) *Monitor {
	m := &Monitor{Options: o, planned: o.Plan, xids: newXIDLog(o.Plan)}
	m.losses.seen = map[deviceKey]*loss{}
	m.queries.turn = make(chan struct{}, 1)
	m.workers.watched = map[int]*watchedWorker{}
	m.events.recent = map[eventKey]*repeat{}
	return m
}

// Start starts to sample. It is called when the job begins.
func (m *Monitor) Start() {
	ctx, cancel := context.WithCancel(context.Background())
	m.stop = cancel
	m.done.Go(func() { runPeriodically(ctx, m.sampleWorkers) })
	if m.GPUs != nil {
		m.GPUs.Subscribe(m.gpuEvent, m.eventsSilent)
		m.done.Go(func() { runPeriodically(ctx, func() { m.sampleGPUs(ctx) }) })
	}
}

// plan returns the plan of the current attempt.
func (m *Monitor) plan() plan.Plan {
	m.planMu.Lock()
	defer m.planMu.Unlock()
	return m.planned
}

// Replanned says that the next attempt has another plan.
func (m *Monitor) Replanned(p plan.Plan) {
	m.planMu.Lock()
	defer m.planMu.Unlock()
	m.planned = p
	m.xids.setDevices(p)
}

// Close stops sampling. It is called when the job has ended. Events that were only counted are
// printed.
func (m *Monitor) Close() {
	if m.stop == nil {
		return // it was never started
	}
	m.stop()
	m.events.close(m.Observer.Log)
	m.done.Wait()
}

// runPeriodically calls f after firstSample and then with a pause of interval, until ctx ends.
func runPeriodically(ctx context.Context, f func()) {
	timer := time.NewTimer(firstSample)
	defer timer.Stop()
	for {
		select {
		case <-timer.C:
			f()
			timer.Reset(interval)
		case <-ctx.Done():
			return
		}
	}
}
