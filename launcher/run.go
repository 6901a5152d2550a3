package launcher

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/gpulaunch/gpulaunch/launcher/internal/process"
	"github.com/gpulaunch/gpulaunch/launcher/plan"
	"github.com/gpulaunch/gpulaunch/launcher/report"
	"github.com/gpulaunch/gpulaunch/launcher/supervisor"
)

// Run runs a plan to its end, including restarts. It returns when all workers are gone, or when the
// end of the job has been requested for the third time. When ctx ends, the job is stopped as by
// SIGTERM.
func Run(ctx context.Context, p plan.Plan, cfg Config) Result {
	s, err := newShared(&p, &cfg)
	if err != nil {
		now := time.Now().Round(0)
		r := Result{Report: report.Report{Started: now, Ended: now}}
		r.fail(err)
		return r
	}
	defer s.close()
	stop := context.AfterFunc(ctx, func() {
		s.sup.Request(supervisor.Request{Signal: stopSignal, Reason: context.Cause(ctx).Error()})
	})
	defer stop()
	s.monitor.Start()
	j := &job{shared: s, plan: p,
		backoff: backoff{first: cfg.RestartDelay, longest: cfg.RestartMaxDelay}}
	announced := j.plan // a restart may change the port in j.plan
	s.emit(Event{Kind: JobStarted, Plan: &announced})
	r := j.run()
	r.GPULeftovers = j.gpuLeftovers(r)
	s.monitor.Close()
	j.updateGPUs(&r)
	r.Ended = time.Now().Round(0)
	if r.ExitCode == 0 && cfg.LeaveBehind {
		s.sup.LeaveBehind()
	}
	s.emit(Event{Kind: JobEnded})
	return r
}

// job runs a plan, attempt by attempt. The phases of a job are in phases.go.
type job struct {
	*shared
	plan    plan.Plan
	attempt int             // the number of restarts so far
	earlier earlierFailures // the root causes of the earlier attempts
	backoff backoff
	delayed time.Duration // how long the job has waited before restarts, in total
}

// run starts the template, if the job has one, and then makes the attempts.
func (j *job) run() (r Result) {
	if err := j.startTemplate(&j.plan); err != nil {
		return j.notStarted(err)
	}
	if j.template != nil {
		if err := j.preload(); err != nil {
			return j.notStarted(err)
		}
		if _, stopped := j.sup.Stopped(); stopped {
			return j.recordStop(j.newResult(&j.plan, 0))
		}
	}
	r = j.runAttempts()
	r.Earlier, r.EarlierLeftOut = j.earlier.list, j.earlier.leftOut
	r.RestartDelaySeconds = j.delayed.Seconds()
	r.Hurried = j.sup.Hurried()
	if j.template != nil && j.template.Err() == nil {
		r.Template = templateOf(j.template)
	}
	return r
}

// notStarted returns the result of a job that failed with err before any worker was started.
func (j *job) notStarted(err error) Result {
	r := j.newResult(&j.plan, 0)
	r.fail(err)
	return r
}

// runAttempts makes attempts until one succeeds, no further restart is permitted, or the job has to
// end. It returns the result of the last attempt.
func (j *job) runAttempts() Result {
	for {
		r, ended := j.runAttempt()
		switch {
		case !ended || !j.mayRestart(r):
			return r
		case !j.awaitRestart(r.Root()) || !j.prepareRestart(r):
			return j.recordStopBetween(r)
		}
	}
}

// runAttempt makes one attempt. ended is false if the job no longer waits for anything, and so did
// not wait for the attempt's end.
func (j *job) runAttempt() (r Result, ended bool) {
	j.checkFolder()
	cg := j.makeCgroup(&j.plan)
	defer func() { j.endCgroup(cg, r.ExitCode) }()
	a := newAttempt(&j.plan, j.shared, j.attempt, cg, nil)
	if !j.sup.Begin("attempt", &attemptPhase{job: j, Attempt: a}) {
		return j.recordStop(j.newResult(&j.plan, j.attempt)), true
	}
	defer j.sup.End()
	go a.run()
	select {
	case <-a.Done():
	case <-j.sup.Quitting():
		return j.recordStop(j.newResult(&j.plan, j.attempt)), false
	}
	r = a.Result()
	if r.Root() == nil && r.Err == nil {
		r = j.recordStop(r)
	}
	return r, true
}

// recordStop returns r with the signal, the error and the exit code of the request that stopped the
// job, if one did.
func (j *job) recordStop(r Result) Result {
	if first, stopped := j.sup.Stopped(); stopped {
		r.Signal = process.SignalName(first.Signal)
		if first.Err != nil {
			r.fail(first.Err)
			r.Signal = ""
		}
		r.ExitCode = first.ExitCode()
	}
	return r
}

// mayRestart reports whether an attempt that ended with r may be followed by another one.
func (j *job) mayRestart(r Result) bool {
	return r.Root() != nil && j.attempt < j.plan.MaxRestarts && len(r.Unkillable) == 0
}

// prepareRestart prepares the next attempt after one that failed with r. It reports whether there is
// to be one.
func (j *job) prepareRestart(r Result) bool {
	if !j.sup.Begin("restart", supervisor.NoPhase{}) { // nothing is started during a suspension
		return false
	}
	defer j.sup.End()
	j.monitor.CheckGPUs(context.Background())
	j.updateGPUs(&r) // the root cause is kept
	if err := j.replan(); err != nil {
		j.cfg.Log(fmt.Sprintf("not restarting: %v", err))
		return false
	}
	if j.plan.FreePort {
		// The old port may linger in TIME_WAIT, or a worker of the last attempt may still dial it.
		port, err := freePort()
		if err != nil {
			j.cfg.Log(err.Error())
			return false
		}
		j.plan.MasterPort = port
	}
	root := *r.Root()
	j.earlier.add(root)
	j.forgetErrorFiles(j.attempt)
	j.attempt++
	if j.cfg.RestartDelay == 0 { // otherwise awaitRestart has said it
		j.cfg.Log(fmt.Sprintf("%s; restarting all workers (%d of %d restarts)", root, j.attempt,
			j.plan.MaxRestarts))
	}
	announced := j.plan
	j.emit(Event{Kind: JobRestarting, Text: root.String(), Plan: &announced})
	return true
}

// replan makes a new plan if the machine has changed. If no plan fits the machine any more, the job
// is not restarted, because the last plan may use CPUs that are now forbidden. Neither is it
// restarted on a GPU that is lost.
func (j *job) replan() error {
	p := j.plan
	if j.cfg.Replan != nil {
		var err error
		if p, err = j.cfg.Replan(j.plan); err != nil {
			return err
		}
	}
	if len(p.Workers) != len(j.plan.Workers) {
		return fmt.Errorf("there would be %d workers instead of %d", len(p.Workers),
			len(j.plan.Workers))
	}
	if lost := j.monitor.Lost(p); len(lost) > 0 {
		return errors.New(strings.Join(lost, "; "))
	}
	for _, w := range p.Warnings {
		if !slices.Contains(j.plan.Warnings, w) {
			j.cfg.Log("warning: " + w)
		}
	}
	p.MasterPort, p.RunID = j.plan.MasterPort, j.plan.RunID
	j.plan = p
	j.monitor.Replanned(p)
	return nil
}
