// Package monitor looks at a job's workers and GPUs while it runs, whether or not anybody
// scrapes metrics.
//
// A [Monitor] reads what the workers use and which CPUs they may run on, asks the GPUs for
// their figures, and hears of errors that their driver reports (XIDs). It tells an
// [Observer] of all that, says what a user should know in one line each, and remembers
// XIDs so that a failure can be told with what came before it.
//
// # Goroutines
//
// One looks at the workers and one asks the GPUs; both end with Close. Events of GPUs come
// in goroutines of whoever sends them, and timers run while one is only counted.
package monitor

import (
	"context"
	"sync"
	"time"

	"github.com/gpulaunch/gpulaunch/gpu"
	"github.com/gpulaunch/gpulaunch/launcher/plan"
)

const (
	// interval is how often the figures of workers and GPUs are read.
	interval = 5 * time.Second
	// firstLook is when they are read for the first time: early enough for someone who has
	// just started a job and looks, and late enough not to compete with the start of the
	// workers.
	firstLook = 500 * time.Millisecond
)

// GPUs is what a Monitor asks of the machine's GPUs. Its methods may be called from any
// goroutine; questions return when their context ends.
type GPUs interface {
	// Sample gives the figures of this moment.
	Sample(context.Context) (gpu.Sample, error)
	// Inventory lists the GPUs, with the processes on them.
	Inventory(context.Context) (gpu.Inventory, error)
	// Subscribe has onEvent called for what happens to GPUs, and for what has happened
	// since they were first asked for. onSilence is called with the reason when no events
	// come, or not from all GPUs. Neither may block.
	Subscribe(onEvent func(gpu.Event), onSilence func(reason string))
}

// Observer is told what a Monitor finds. Its functions are called from several goroutines
// and must not block.
type Observer struct {
	// GPUsSampled has the GPUs' figures of one moment, GPUsSilent says why there are none.
	GPUsSampled func(gpu.Sample)
	GPUsSilent  func(reason string)
	// GPUEvent is something that happened to a GPU, of the job's or not.
	GPUEvent func(gpu.Event)
	// EventsSilent says why no events come from the job's GPUs.
	EventsSilent func(reason string)
	// WorkerSampled is what a worker uses.
	WorkerSampled func(WorkerSample)
	// Say takes one line for the user.
	Say func(line string)
	// Fatal is called once, with a line about it, for an XID after which a GPU of the job
	// is not to be relied on.
	Fatal func(line string)
}

// Options say what is monitored.
type Options struct {
	Plan plan.Plan
	// GPUs is nil where there are none to ask.
	GPUs GPUs
	// Before is the machine's GPUs as they were before the job.
	Before   gpu.Inventory
	Observer Observer
}

// Monitor looks at one job. Its methods may be called from any goroutine.
type Monitor struct {
	Options
	stop context.CancelFunc
	done sync.WaitGroup

	workers workers
	asking  asking
	events  events
	log     *xidLog
}

// New prepares a Monitor that does nothing before Start.
func New(o Options) *Monitor {
	m := &Monitor{Options: o, log: newXIDLog(o.Plan)}
	m.asking.turn = make(chan struct{}, 1)
	m.workers.watched = map[int]*watched{}
	m.events.recent = map[eventKey]*repeat{}
	return m
}

// Start begins to look, when the job begins.
func (m *Monitor) Start() {
	ctx, cancel := context.WithCancel(context.Background())
	m.stop = cancel
	m.done.Go(func() { every(ctx, m.lookAtWorkers) })
	if m.GPUs != nil {
		m.GPUs.Subscribe(m.gpuEvent, m.eventsSilent)
		m.done.Go(func() { every(ctx, func() { m.sampleGPUs(ctx) }) })
	}
}

// Close ends the looking, when the job has ended. Events that were only counted are told.
func (m *Monitor) Close() {
	if m.stop == nil {
		return // it was never started
	}
	m.stop()
	m.events.close(m.Observer.Say)
	m.done.Wait()
}

// every calls f now and then until ctx ends.
func every(ctx context.Context, f func()) {
	timer := time.NewTimer(firstLook)
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
