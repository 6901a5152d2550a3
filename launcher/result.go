package launcher

import (
	"errors"
	"fmt"
	"strings"
	"syscall"
	"time"

	"github.com/gpulaunch/gpulaunch/gpu"
	"github.com/gpulaunch/gpulaunch/internal/text"
	"github.com/gpulaunch/gpulaunch/launcher/internal/process"
	"github.com/gpulaunch/gpulaunch/launcher/plan"
	"github.com/gpulaunch/gpulaunch/launcher/report"
)

// ExitStatus is how a process ended, Descendant a process below the launcher.
type (
	ExitStatus = process.ExitStatus
	Descendant = process.Descendant
)

// SignalName is a signal's name, as "SIGTERM".
func SignalName(sig syscall.Signal) string { return process.SignalName(sig) }

// Result is how a job, or one attempt at it, ended.
type Result struct {
	// ExitCode is what the launcher exits with: 0, the root cause's exit code or 128 plus
	// its signal, 128 plus the signal that stopped the job, or 125, 126 or 127 for a job
	// that could not be run.
	ExitCode int
	// Root is the first worker that failed by itself, nil if none did.
	Root *WorkerResult
	// Err is why the launcher could not do its work.
	Err error
	// Hurried says that the user did not wait for the grace period.
	Hurried bool
	// Signal is what the user stopped the job with, 0 if the user did not.
	Signal syscall.Signal
	// NotStarted is how many workers of the last attempt were never started, because one
	// had already failed.
	NotStarted int
	// Restarts is how often the job was started again.
	Restarts int
	// Earlier are the root causes of the attempts before the last.
	Earlier []WorkerResult
	// Workers are those of the last attempt that were started.
	Workers []WorkerResult
	// Started and Ended are the job's, restarts included.
	Started, Ended time.Time
	// Host is this machine's name.
	Host string
	// Template is what workers were forked from, nil with StartExec.
	Template *Template
	// OutOfMemory says that the kernel killed a worker, or what it had started, because
	// memory had run out, as far as the job's control group tells.
	OutOfMemory bool
	// Swept are descendants of workers that had to be killed, Unkillable are processes
	// that are still there.
	Swept, Unkillable []Descendant
	// GPULeftovers are processes that stay on the job's GPUs, if they were looked for.
	GPULeftovers []report.GPUProcess
}

// WorkerResult is how one worker ended.
type WorkerResult struct {
	Worker         *plan.Worker
	PID            int
	Exit           ExitStatus
	Started, Ended time.Time
	// Stopped says that the launcher had asked the worker to end before it did.
	Stopped bool
	// OutOfMemory says that the kernel killed it because memory had run out.
	OutOfMemory bool
	// Raised is what the worker wrote into its error file, nil if it left none. ErrorFile
	// says why the one that it left cannot be used.
	Raised    *Raised
	ErrorFile string
	// XIDs are errors of its GPU in the five minutes before its end and the second after.
	XIDs []report.XID
	// LastStderr are the last lines of its standard error, if that was prefixed. Silent
	// says that it was, and that there are none.
	LastStderr []string
	Silent     bool
}

// Raised is what a worker wrote into its error file. It may hold any character.
type Raised struct {
	Message, Traceback string
	Time               time.Time // zero if unknown
}

// Failed reports whether the worker failed by itself.
func (r WorkerResult) Failed() bool { return !r.Exit.OK() && !r.Stopped }

// String gives one phrase: "rank 1 (pid 4711, GPU 1) exited with code 3 after 1.2s".
func (r WorkerResult) String() string {
	lived := r.Ended.Sub(r.Started)
	for _, unit := range []time.Duration{time.Second, time.Millisecond, time.Microsecond} {
		if lived > 60*unit {
			lived = lived.Round(unit)
			break
		}
	}
	return fmt.Sprintf("%s %s after %s", r.Worker.Label(r.PID), r.Exit, lived)
}

// settle fills in the result of an attempt that is over.
func (a *Attempt) settle() {
	r := &a.result
	r.Err, r.Host, r.Started, r.Ended = a.err, a.host, a.started, time.Now()
	for _, w := range a.workers {
		// One that is alive is named in Unkillable.
		if !w.Alive() && w.End().Err == nil {
			r.Workers = append(r.Workers, a.workerResult(w))
		}
	}
	for i := range r.Workers {
		if w := &r.Workers[i]; w.Failed() && (r.Root == nil || w.Ended.Before(r.Root.Ended)) {
			r.Root = w
		}
	}
	r.NotStarted = len(a.plan.Workers) - len(a.workers)
	if a.cgroup != nil {
		kills, _ := a.cgroup.OOMKills()
		r.OutOfMemory = kills > 0
	}
	switch {
	case r.Root != nil:
		r.ExitCode = r.Root.Exit.Code
	case r.Err != nil:
		r.ExitCode = startCode(r.Err)
	case len(r.Unkillable) > 0:
		r.ExitCode = 125
	case a.asked:
		r.Signal, r.ExitCode = a.signal, 128+int(a.signal)
	}
}

// updateXIDs looks again for errors of the workers' GPUs, because more may have been told
// since the workers ended.
func (s *shared) updateXIDs(r *Result) {
	for i := range r.Workers {
		w := &r.Workers[i]
		w.XIDs = s.monitor.XIDs(w.Worker, w.Started, w.Ended)
	}
}

// startCode gives the exit code for a job that could not be run.
func startCode(err error) int {
	var start *StartError
	if errors.As(err, &start) {
		return start.ExitCode()
	}
	return 125
}

// workerResult is all that is known of a worker that has ended.
func (a *Attempt) workerResult(w *worker) WorkerResult {
	end := w.End()
	r := WorkerResult{
		Worker: w.Worker, PID: w.PID, Exit: end.Status, Started: w.Started, Ended: end.Time,
		Stopped: !a.stopSent.IsZero() && end.Time.After(a.stopSent),
		XIDs:    a.monitor.XIDs(w.Worker, w.Started, end.Time),
	}
	if r.Exit.OK() {
		return r
	}
	r.OutOfMemory = w.oom && !r.Stopped
	r.LastStderr = w.stderr.Lines()
	r.Silent = w.stderr != nil && len(r.LastStderr) == 0
	if a.folder == nil {
		return r
	}
	record, err := a.folder.Read(a.number, w.Rank)
	switch {
	case err != nil:
		r.ErrorFile = err.Error()
	case record != nil:
		r.Raised = &Raised{Message: record.Message, Traceback: record.Traceback, Time: record.Time}
	}
	return r
}

// Failure gives the job's end as an error, nil if all went well; see Attempt.Join.
func (r Result) Failure() error {
	switch {
	case r.Root != nil:
		return r.Root.failure(r.Host)
	case r.Err != nil:
		return r.Err
	case len(r.Unkillable) > 0:
		return errors.New(process.Stuck(r.Unkillable))
	case r.Signal != 0:
		return &StoppedError{r.Signal}
	}
	return nil
}

// Summary says in lines what the user must know of a job's end, and nothing if all went
// well.
func (r Result) Summary() []string {
	var lines []string
	if len(r.Swept) > 0 {
		lines = append(lines, "killed "+process.Listed(r.Swept, "that workers left behind"))
	}
	if len(r.Unkillable) > 0 {
		lines = append(lines, process.Stuck(r.Unkillable))
	}
	lines = append(lines, r.leftoverLines()...)
	switch {
	case r.Root != nil:
		lines = append(lines, r.failure())
	case r.Err != nil:
		lines = append(lines, r.Err.Error())
	}
	return lines
}

// failure gives the root cause and what else went wrong.
func (r Result) failure() string {
	var also []string
	stopped := 0
	for _, w := range r.Workers {
		switch {
		case w.Stopped:
			stopped++
		case w.Failed() && w.PID != r.Root.PID:
			also = append(also, w.String())
		}
	}
	line := "failed: " + r.Root.String()
	if r.OutOfMemory || r.Root.OutOfMemory {
		line += "; the kernel has killed processes of the job because memory ran out"
	}
	if len(also) > 0 {
		line += "; then " + strings.Join(also, ", ")
	}
	if stopped > 0 {
		line += text.Plural(stopped, "; the other worker was stopped", "; %d other workers were stopped")
	}
	if r.NotStarted > 0 {
		line += text.Plural(r.NotStarted, "; %d worker was not started any more", "; %d workers were not started any more")
	}
	if r.Restarts > 0 {
		line += text.Plural(r.Restarts, "; %d restart did not help", "; %d restarts did not help")
	}
	return line
}

// leftoverLines name the processes that are still on the job's GPUs.
func (r Result) leftoverLines() (lines []string) {
	for _, p := range r.GPULeftovers[:min(len(r.GPULeftovers), mostLeftovers)] {
		lines = append(lines, fmt.Sprintf("still on GPU %d after the job: %s; end it, or its memory stays taken", p.GPU, onGPU(p)))
	}
	if more := len(r.GPULeftovers) - mostLeftovers; more > 0 {
		lines = append(lines, text.Plural(more, "and %d more process is still on the job's GPUs", "and %d more processes are still on the job's GPUs"))
	}
	return lines
}

// mostLeftovers is how many are named on the terminal; the report has all.
const mostLeftovers = 8

// onGPU is a process on a GPU in words.
func onGPU(p report.GPUProcess) string {
	return gpu.Process{
		PID: p.PID, User: p.User, Command: p.Command,
		MemoryBytes: p.MemoryBytes, MemoryKnown: p.MemoryBytes > 0,
	}.String()
}
