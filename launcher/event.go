package launcher

import (
	"time"

	"github.com/gpulaunch/gpulaunch/gpu"
	"github.com/gpulaunch/gpulaunch/launcher/plan"
	"github.com/gpulaunch/gpulaunch/launcher/report"
)

// EventKind is what an Event tells.
type EventKind string

// The kinds of events.
const (
	// JobStarted: Plan is what will run.
	JobStarted EventKind = "job_started"
	// TemplateStarted: a template process imports modules, which may take long; Text says
	// what. TemplateReady: it has; Template and PID are set.
	TemplateStarted EventKind = "template_started"
	TemplateReady   EventKind = "template_ready"
	// WorkerStarted: Rank and PID are running.
	WorkerStarted EventKind = "worker_started"
	// WorkerSampled: Rank and PID use this much; CPU, ResidentBytes and WithinCPUs are set.
	WorkerSampled EventKind = "worker_sampled"
	// WorkerExited: Exit says how, CPU how much processor time it had used.
	WorkerExited EventKind = "worker_exited"
	// GPUsSampled: GPUs are the figures of one moment. GPUsSilent: the GPUs were asked and
	// there are none; Text says why.
	GPUsSampled EventKind = "gpus_sampled"
	GPUsSilent  EventKind = "gpus_silent"
	// GPUHappening: GPU is something that happened to a GPU of the machine.
	// GPUEventsSilent: such events do not come, or not from all GPUs; Text says why.
	GPUHappening    EventKind = "gpu_happening"
	GPUEventsSilent EventKind = "gpu_events_silent"
	// JobStopping: the workers have been asked to end; Text says with which signal.
	JobStopping EventKind = "job_stopping"
	// JobRestarting: all workers have ended and are started again, by Plan; Text says why.
	JobRestarting EventKind = "job_restarting"
	// JobEnded: nothing more comes.
	JobEnded EventKind = "job_ended"
)

// Event is one thing that happened to a job. Events come one at a time, those of workers in
// order; whoever receives them must be quick.
type Event struct {
	Kind EventKind
	Time time.Time
	// Attempt counts from 0; it is the number of restarts so far.
	Attempt int
	// Plan is set in JobStarted and JobRestarting.
	Plan *plan.Plan
	// Template is set in TemplateReady.
	Template *report.Template
	// Rank and PID are set in events of workers.
	Rank, PID int
	// Exit is set in WorkerExited.
	Exit ExitStatus
	// CPU is user and system time of the worker and of those of its children that it
	// waited for; ResidentBytes is the memory of the worker's process.
	CPU           time.Duration
	ResidentBytes uint64
	// WithinCPUs reports whether all threads of the worker keep to its planned CPUs, and
	// those may still be used; nil if that is unknown.
	WithinCPUs *bool
	// GPUs is set in GPUsSampled, GPU in GPUHappening.
	GPUs *gpu.Sample
	GPU  *gpu.Event
	Text string
}
