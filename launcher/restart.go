package launcher

import (
	"fmt"
	"time"

	"github.com/gpulaunch/gpulaunch/launcher/internal/process"
	"github.com/gpulaunch/gpulaunch/launcher/report"
	"github.com/gpulaunch/gpulaunch/launcher/supervisor"
)

const (
	// DefaultRestartDelay and DefaultRestartMaxDelay are the delays before the first restart and
	// the longest delay if Config does not say otherwise.
	DefaultRestartDelay    = time.Second
	DefaultRestartMaxDelay = time.Minute
	// restartForgetAfter is how long a worker has to run before its failure counts as the first one
	// again. Kubernetes resets its back-off delay for containers after the same time.
	restartForgetAfter = 10 * time.Minute
)

// backoff says how long the job waits before each restart: first, then twice as long each time, up
// to longest.
type backoff struct {
	first, longest time.Duration
	last           time.Duration // the delay before the last restart, or 0
}

// next returns the delay after the failure of a worker that had run for the duration ran.
func (b *backoff) next(ran time.Duration) time.Duration {
	switch {
	case b.last == 0 || ran >= restartForgetAfter:
		b.last = min(b.first, b.longest)
	case b.last > b.longest/2:
		b.last = b.longest
	default:
		b.last *= 2
	}
	return b.last
}

// awaitRestart is the phase between a failed attempt and the next one. It returns after the delay,
// and reports false if the end of the job has been requested. root is the failure.
//
// The delay goes on while the job is suspended, but no attempt begins before SIGCONT.
func (j *job) awaitRestart(root *report.Worker) bool {
	delay := j.backoff.next(root.Ended.Sub(root.Started))
	if delay == 0 {
		return true
	}
	p := &restartDelayPhase{job: j, stopped: make(chan struct{})}
	if !j.sup.Begin("restart delay", p) {
		return false
	}
	defer j.sup.End()
	begun := time.Now()
	j.cfg.Log(fmt.Sprintf("%s; restarting all workers in %s (%d of %d restarts)", root, delay,
		j.attempt+1, j.plan.MaxRestarts))
	j.emit(Event{Kind: JobRestartDelayed, Text: root.String(), Delay: delay})
	timer := time.NewTimer(delay)
	defer timer.Stop()
	restart := true
	select {
	case <-timer.C:
	case <-j.templateDead: // the next attempt says so, and fails
	case <-p.stopped:
		restart = false
	case <-j.sup.Quitting():
		restart = false
	}
	j.delayed += time.Since(begun)
	return restart
}

// restartDelayPhase handles requests during awaitRestart. There is nothing to signal, because no
// process of the job is left.
type restartDelayPhase struct {
	supervisor.NoPhase
	*job
	stopped chan struct{} // closed when the end of the job has been requested
}

// Stop ends the delay, and with it the job.
func (p *restartDelayPhase) Stop(r supervisor.Request) {
	p.cfg.Log(r.Why() + ": the workers are not restarted")
	close(p.stopped)
}

// Kill does what Stop does, unless the job has been stopped already.
func (p *restartDelayPhase) Kill(r supervisor.Request) {
	select {
	case <-p.stopped:
	default:
		p.Stop(r)
	}
}

// recordStopBetween returns the result r of the last attempt, after which there is no other one,
// with the signal that stopped the job, if one did. The exit code stays that of the failure.
func (j *job) recordStopBetween(r Result) Result {
	if first, stopped := j.sup.Stopped(); stopped && first.Err == nil {
		r.Signal = process.SignalName(first.Signal)
	}
	return r
}
