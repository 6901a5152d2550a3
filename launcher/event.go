package launcher

import (
	"time"

	"github.com/gpulaunch/gpulaunch/gpu"
	"github.com/gpulaunch/gpulaunch/launcher/plan"
	"github.com/gpulaunch/gpulaunch/launcher/report"
)

// EventKind says what an Event is about.
type EventKind string

// The kinds of events.
const (
	// JobStarted: the job begins. Plan is what will run.
	JobStarted EventKind = "job_started"
	// TemplateStarted: a template process has been started and imports modules, which may take
	// long; Text says which. TemplateReady: the imports are done; Template and PID are set.
	TemplateStarted EventKind = "template_started"
	TemplateReady   EventKind = "template_ready"
	// WorkerStarted: the worker Rank runs as process PID.
	WorkerStarted EventKind = "worker_started"
	// WorkerSampled: CPU, ResidentBytes and WithinCPUs say what the worker uses.
	WorkerSampled EventKind = "worker_sampled"
	// WorkerExited: Exit says how the worker ended, and CPU how much CPU time it had used.
	WorkerExited EventKind = "worker_exited"
	// GPUsSampled: GPUs has the sample of one moment. GPUsSilent: the GPUs were asked for a sample
	// and gave none; Text says why.
	GPUsSampled EventKind = "gpus_sampled"
	GPUsSilent  EventKind = "gpus_silent"
	// GPUHappening: GPU is an event of one of the machine's GPUs. GPUEventsSilent: no GPU events
	// arrive, or not from all GPUs; Text says why, and is "" when they arrive again.
	GPUHappening    EventKind = "gpu_happening"
	GPUEventsSilent EventKind = "gpu_events_silent"
	// JobStopping: the workers have been asked to end; Text says with which signal.
	JobStopping EventKind = "job_stopping"
	// JobRestartDelayed: a worker has failed, all workers have ended, and the job waits for Delay
	// before it starts them again; Text says why. JobStopping does not follow if the job is stopped
	// meanwhile.
	JobRestartDelayed EventKind = "job_restart_delayed"
	// JobRestarting: all workers have ended and are about to be started again, as in Plan; Text
	// says why.
	JobRestarting EventKind = "job_restarting"
	// JobEnded: the job is over. No event follows.
	JobEnded EventKind = "job_ended"
)

// Event is something that happened to a job. Events come one at a time, and those of a worker in
// the order in which they happened. The receiver must not block, because the job waits for it.
type Event struct {
	Kind EventKind
	Time time.Time
	// Attempt is the number of the attempt, from 0. It is also the number of restarts so far.
	Attempt int
	// Plan is set in JobStarted and JobRestarting.
	Plan *plan.Plan
	// Template is set in TemplateReady.
	Template *report.Template
	// Rank and PID are set in events of workers.
	Rank, PID int
	// Exit is set in WorkerExited.
	Exit ExitStatus
	// CPU is the user and system time of the worker and of those of its children that it has waited
	// for. ResidentBytes is the memory of the worker's process.
	CPU           time.Duration
	ResidentBytes uint64
	// WithinCPUs says whether all threads of the worker keep to its planned CPUs and may still use
	// those; nil if that is unknown.
	WithinCPUs *bool
	// GPUs is set in GPUsSampled, GPU in GPUHappening.
	GPUs *gpu.Sample
	GPU  *gpu.Event
	// Delay is set in JobRestartDelayed.
	Delay time.Duration
	Text  string
}
