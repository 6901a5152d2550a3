package launcher

import (
	"time"

	"github.com/gpulaunch/gpulaunch/launcher/plan"
)

// Kind is what an Event tells.
type Kind string

// The kinds of events, in the order in which a job sends them.
const (
	// JobStarted: Plan is what will run.
	JobStarted Kind = "job_started"
	// TemplateStarted: a template process imports modules, which may take long;
	// Text says what. TemplateReady: it has; Template and PID are set.
	TemplateStarted Kind = "template_started"
	TemplateReady   Kind = "template_ready"
	// WorkerStarted: Rank and PID are running.
	WorkerStarted Kind = "worker_started"
	// WorkerExited: Exit says how, CPU how much processor time it had used.
	WorkerExited Kind = "worker_exited"
	// JobStopping: the workers have been asked to end; Text says why.
	JobStopping Kind = "job_stopping"
	// JobRestarting: all workers have ended and are started again, by Plan.
	JobRestarting Kind = "job_restarting"
	// JobEnded: nothing more comes.
	JobEnded Kind = "job_ended"
)

// Event is one thing that happened to a job. Events come one at a time, in
// order, from the goroutine that runs the job: who receives them must be quick.
type Event struct {
	Kind Kind
	Time time.Time
	// Attempt counts from 0; it is the number of restarts so far.
	Attempt int
	// Plan is set in JobStarted and JobRestarting.
	Plan *plan.Plan
	// Template is set in TemplateReady.
	Template *Template
	// Rank and PID are set in WorkerStarted and WorkerExited.
	Rank, PID int
	// Exit and CPU are set in WorkerExited. CPU is user and system time of the
	// worker and of those of its children that it waited for.
	Exit Exit
	CPU  time.Duration
	Text string
}
