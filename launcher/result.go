package launcher

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/gpulaunch/gpulaunch/gpu"
	"github.com/gpulaunch/gpulaunch/launcher/internal/process"
	"github.com/gpulaunch/gpulaunch/launcher/plan"
	"github.com/gpulaunch/gpulaunch/launcher/plural"
	"github.com/gpulaunch/gpulaunch/launcher/report"
)

// ExitStatus says how a process ended.
type ExitStatus = process.ExitStatus

// Result says how a job, or one attempt, ended.
type Result struct {
	// Report is the part that is also written as a table or as JSON. Its ExitCode is the launcher's
	// exit code: 0, the root cause's exit code or 128 plus its signal, 128 plus the signal that
	// stopped the job, or 125, 126 or 127 for a job that could not be run.
	report.Report
	// Err is why the launcher could not do its work.
	Err error
	// Hurried says that somebody did not wait for the grace period.
	Hurried bool
	// OutOfMemory says that the kernel killed a worker, or a process that a worker started, because
	// memory had run out. Only the job's control group can tell, so it is false without one.
	OutOfMemory bool
}

// fail records err as the reason for the end of the job, with its exit code.
func (r *Result) fail(err error) {
	r.Err, r.Error, r.ExitCode = err, err.Error(), startCode(err)
}

// newResult returns a result with what is known of the job before it ends.
func (s *shared) newResult(p *plan.Plan, restarts int) Result {
	return Result{Report: report.Report{
		RunID: p.RunID, Host: s.host, StartMethod: string(s.cfg.StartMethod),
		WorldSize: p.WorldSize, Nodes: p.Nodes, NodeRank: p.NodeRank,
		Started: s.started.Round(0), Restarts: restarts,
	}}
}

// recordResult sets the result of an attempt that is over.
func (a *Attempt) recordResult() {
	r := a.newResult(a.plan, a.number)
	r.Ended = time.Now().Round(0)
	r.Killed, r.Unkillable = a.killed, a.unkillable
	for _, w := range a.workers {
		// A worker that is alive is named in Unkillable.
		if !w.Alive() && w.End().Err == nil {
			r.Workers = append(r.Workers, a.workerResult(w))
		}
	}
	markRoot(r.Workers)
	a.readRecords(r.Workers)
	r.NotStarted = len(a.plan.Workers) - len(a.workers)
	if a.cgroup != nil {
		kills, _ := a.cgroup.OOMKills()
		r.OutOfMemory = kills > 0
	}
	if a.err != nil {
		r.fail(a.err)
	}
	switch root := r.Root(); {
	case root != nil:
		r.ExitCode = root.Code
	case a.err != nil:
	case len(r.Unkillable) > 0:
		r.ExitCode = 125
	case a.userAsked:
		r.Signal, r.ExitCode = process.SignalName(a.signal), 128+int(a.signal)
	}
	r.Sort()
	a.result = r
}

// markRoot marks the first worker that failed by itself as the root cause.
func markRoot(workers []report.Worker) {
	var root *report.Worker
	for i := range workers {
		if w := &workers[i]; w.Failed() && (root == nil || w.Ended.Before(root.Ended)) {
			root = w
		}
	}
	if root != nil {
		root.RootCause = true
	}
}

// workerResult returns all that is known of a worker that has ended.
func (a *Attempt) workerResult(w *worker) report.Worker {
	end := w.End()
	stopped := !a.stopSent.IsZero() && end.Time.After(a.stopSent)
	r := report.Worker{
		Attempt: a.number, Rank: w.Rank, LocalRank: w.LocalRank, PID: w.PID, Host: a.host,
		Device: (*report.Device)(w.Device), CPUs: w.CPUs.String(),
		Started: w.Started.Round(0), Ended: end.Time.Round(0),
		ExitStatus: end.Status, How: howEnded(end.Status, stopped, w.oom),
		XIDs: a.monitor.XIDs(w.Worker, w.Started, end.Time),
	}
	if r.OK() {
		return r
	}
	r.GPULost = a.monitor.Loss(w.Worker, w.Started, end.Time)
	r.LastStderr = w.stderr.Lines()
	r.Silent = w.stderr != nil && len(r.LastStderr) == 0
	return r
}

// howEnded says who ended a worker. The kernel does not tell a parent who sent the signal that
// ended its child, so howEnded goes by the signal. Some signals result from what the process did
// itself (signal(7): a fault, an abort, a closed pipe, an alarm or limit of its own). The others
// come from outside, unless the launcher sent them.
func howEnded(end ExitStatus, stopped, oom bool) report.How {
	outside := []syscall.Signal{
		unix.SIGKILL, unix.SIGTERM, unix.SIGINT, unix.SIGHUP, unix.SIGQUIT, unix.SIGUSR1,
		unix.SIGUSR2,
	}
	switch {
	case stopped:
		return report.ByLauncher
	case end.OK():
		return report.Success
	case oom:
		return report.OutOfMemory
	case slices.ContainsFunc(outside, end.EndedBy):
		return report.FromOutside
	}
	return report.ByItself
}

// updateGPUs looks up the XIDs and the losses of the workers' GPUs again, because more may have
// been reported since the workers ended.
func (j *job) updateGPUs(r *Result) {
	for i := range r.Workers {
		w := &r.Workers[i]
		planned := slices.IndexFunc(j.plan.Workers,
			func(p plan.Worker) bool { return p.Rank == w.Rank })
		w.XIDs = j.monitor.XIDs(&j.plan.Workers[planned], w.Started, w.Ended)
		if !w.OK() {
			w.GPULost = j.monitor.Loss(&j.plan.Workers[planned], w.Started, w.Ended)
		}
	}
}

// startCode returns the exit code for a job that could not be run because of err.
func startCode(err error) int {
	var start *StartError
	if errors.As(err, &start) {
		return start.ExitCode()
	}
	return 125
}

// Failure returns the job's end as an error, or nil if all went well; see Attempt.Join.
func (r Result) Failure() error {
	root := r.Root()
	switch {
	case root != nil:
		return workerError(*root)
	case r.Err != nil:
		return r.Err
	case len(r.Unkillable) > 0:
		return errors.New(process.DescribeUnkillable(r.Unkillable))
	case r.Signal != "":
		return &StoppedError{unix.SignalNum(r.Signal)}
	}
	return nil
}

// Summary returns what the user must know of the job's end, in lines. It returns nothing if all
// went well.
func (r Result) Summary() []string {
	var lines []string
	if len(r.Killed) > 0 {
		lines = append(lines, "killed "+process.Describe(r.Killed, "that workers left behind"))
	}
	if len(r.Unkillable) > 0 {
		lines = append(lines, process.DescribeUnkillable(r.Unkillable))
	}
	lines = append(lines, r.leftoverLines()...)
	switch root := r.Root(); {
	case root != nil:
		lines = append(lines, r.failureLine(*root))
	case r.Err != nil:
		lines = append(lines, r.Err.Error())
	}
	return lines
}

// failureLine describes the root cause and what else went wrong.
func (r Result) failureLine(root report.Worker) string {
	var also []string
	stopped := 0
	for _, w := range r.Workers {
		switch {
		case w.How == report.ByLauncher:
			stopped++
		case w.Failed() && !w.RootCause:
			also = append(also, w.String())
		}
	}
	line := "failed: " + root.String()
	if r.OutOfMemory || root.How == report.OutOfMemory {
		line += "; the kernel has killed processes of the job because memory ran out"
	}
	if len(also) > 0 {
		line += "; then " + strings.Join(also, ", ")
	}
	if stopped > 0 {
		line += plural.Of(stopped, "; the other worker was stopped",
			"; %d other workers were stopped")
	}
	if r.NotStarted > 0 {
		line += plural.Of(r.NotStarted, "; %d worker was not started any more",
			"; %d workers were not started any more")
	}
	if r.Restarts > 0 {
		line += plural.Of(r.Restarts, "; %d restart did not help", "; %d restarts did not help")
	}
	return line
}

// leftoverLines returns a line for each process that is still on the job's GPUs, up to
// maxLeftoverLines.
func (r Result) leftoverLines() (lines []string) {
	for _, p := range r.GPULeftovers[:min(len(r.GPULeftovers), maxLeftoverLines)] {
		lines = append(lines,
			fmt.Sprintf("still on GPU %d after the job: %s; end it, or its memory stays taken",
				p.GPU, describeLeftover(p)))
	}
	if more := len(r.GPULeftovers) - maxLeftoverLines; more > 0 {
		lines = append(lines, plural.Of(more, "and %d more process is still on the job's GPUs",
			"and %d more processes are still on the job's GPUs"))
	}
	return lines
}

// maxLeftoverLines is how many of these processes are named on the terminal. The report has all.
const maxLeftoverLines = 8

// describeLeftover describes a process on a GPU in words.
func describeLeftover(p report.GPUProcess) string {
	return gpu.Process{
		PID: p.PID, User: p.User, Command: p.Command,
		MemoryBytes: p.MemoryBytes, MemoryKnown: p.MemoryBytes > 0,
	}.String()
}
