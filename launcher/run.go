package launcher

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/gpulaunch/gpulaunch/launcher/internal/process"
	"github.com/gpulaunch/gpulaunch/launcher/plan"
	"github.com/gpulaunch/gpulaunch/launcher/report"
	"github.com/gpulaunch/gpulaunch/launcher/supervisor"
)

// Run runs a plan to its end, restarts included. It returns when all workers are gone, or
// when control has asked for the end a third time. When ctx ends, the job is stopped as by
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
	j := &job{shared: s, plan: p}
	announced := j.plan // a restart changes the port of the job's own
	s.emit(Event{Kind: JobStarted, Plan: &announced})
	r := j.run()
	r.GPULeftovers = j.gpuLeftovers(r)
	s.monitor.Close()
	j.updateXIDs(&r)
	r.Ended = time.Now().Round(0)
	if r.ExitCode == 0 && cfg.LeaveBehind {
		s.sup.LeaveBehind()
	}
	s.emit(Event{Kind: JobEnded})
	return r
}

// job is a plan on its way through its attempts. Its phases are in phases.go.
type job struct {
	*shared
	plan    plan.Plan
	attempt int             // the number of restarts so far
	earlier []report.Worker // root causes of the attempts before
}

// run is the job from its template, if it has one, to its last attempt.
func (j *job) run() (r Result) {
	if err := j.startTemplate(&j.plan); err != nil {
		return j.notStarted(err)
	}
	if j.template != nil {
		if err := j.preload(); err != nil {
			return j.notStarted(err)
		}
		if _, stopped := j.sup.Stopped(); stopped {
			return j.stopped(j.newResult(&j.plan, 0))
		}
	}
	r = j.attempts()
	r.Earlier, r.Hurried = j.earlier, j.sup.Hurried()
	if j.template != nil && j.template.Err() == nil {
		r.Template = templateOf(j.template)
	}
	return r
}

// notStarted is the result of a job of which no worker could be started.
func (j *job) notStarted(err error) Result {
	r := j.newResult(&j.plan, 0)
	r.fail(err)
	return r
}

// attempts makes one attempt after the other until one succeeds, no further one is
// permitted, or the job is to end.
func (j *job) attempts() Result {
	for {
		r, ended := j.once()
		if !ended || !j.again(r) {
			return r
		}
	}
}

// once makes one attempt. It reports whether that ended: it did not if nothing is to be
// waited for any more.
func (j *job) once() (r Result, ended bool) {
	cg, remove := j.makeCgroup(&j.plan)
	defer remove()
	a := newAttempt(&j.plan, j.shared, j.attempt, cg, nil)
	if !j.sup.Begin("attempt", &attemptPhase{job: j, Attempt: a}) {
		return j.stopped(j.newResult(&j.plan, j.attempt)), true
	}
	defer j.sup.End()
	go a.run()
	select {
	case <-a.Done():
	case <-j.sup.Left():
		return j.stopped(j.newResult(&j.plan, j.attempt)), false
	}
	r = a.Result()
	if r.Root() == nil && r.Err == nil {
		r = j.stopped(r)
	}
	return r, true
}

// stopped records in a result why the job was stopped, if it was.
func (j *job) stopped(r Result) Result {
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

// again prepares the next attempt if there may be one.
func (j *job) again(r Result) bool {
	root := r.Root()
	if root == nil || j.attempt >= j.plan.MaxRestarts || len(r.Unkillable) > 0 {
		return false
	}
	if !j.sup.Begin("restart", supervisor.NoPhase{}) { // nothing is started while suspended
		return false
	}
	defer j.sup.End()
	if err := j.replan(); err != nil {
		j.cfg.Log(fmt.Sprintf("not restarting: %v", err))
		return false
	}
	if j.plan.FreePort {
		// The old one may linger in TIME_WAIT or still be dialled by a straggler.
		port, err := freePort()
		if err != nil {
			j.cfg.Log(err.Error())
			return false
		}
		j.plan.MasterPort = port
	}
	j.earlier = append(j.earlier, *root)
	j.attempt++
	j.cfg.Log(fmt.Sprintf("%s; restarting all workers (%d of %d restarts)", root, j.attempt,
		j.plan.MaxRestarts))
	announced := j.plan
	j.emit(Event{Kind: JobRestarting, Text: root.String(), Plan: &announced})
	return true
}

// replan takes up what has changed on the machine. Without a plan that fits it there is no
// restart: the one before may use CPUs that are forbidden now.
func (j *job) replan() error {
	if j.cfg.Replan == nil {
		return nil
	}
	p, err := j.cfg.Replan(j.plan)
	if err == nil && len(p.Workers) != len(j.plan.Workers) {
		err = fmt.Errorf("there would be %d workers instead of %d", len(p.Workers),
			len(j.plan.Workers))
	}
	if err != nil {
		return err
	}
	for _, w := range p.Warnings {
		if !slices.Contains(j.plan.Warnings, w) {
			j.cfg.Log("warning: " + w)
		}
	}
	p.MasterPort, p.RunID = j.plan.MasterPort, j.plan.RunID
	j.plan = p
	return nil
}
