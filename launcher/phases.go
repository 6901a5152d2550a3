package launcher

import (
	"context"
	"fmt"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/gpulaunch/gpulaunch/launcher/plural"
	"github.com/gpulaunch/gpulaunch/launcher/report"
	"github.com/gpulaunch/gpulaunch/launcher/supervisor"
)

// preload is the phase in which the template imports modules. It returns when workers can be
// forked, when the imports have failed, or when the user has asked for the end.
func (j *job) preload() error {
	p := &preloadPhase{job: j, stopped: make(chan struct{})}
	if !j.sup.Begin("preloading", p) {
		return nil // the attempt does not begin either
	}
	defer func() {
		j.sup.End()
		// The template may have been suspended after its last import. A SIGCONT that comes between
		// this phase and the next would not reach it. Until it is asked to fork, it does nothing.
		j.signalTemplate(unix.SIGCONT)
	}()
	select {
	case <-j.template.Ready():
	case <-p.stopped:
		return nil
	}
	return j.templateReady()
}

// preloadPhase handles requests during preload.
type preloadPhase struct {
	supervisor.NoPhase
	*job
	stopped chan struct{}
}

func (p *preloadPhase) Stop(r supervisor.Request) {
	p.cfg.Log(r.Why() + ": no worker was started")
	p.signalTemplate(unix.SIGCONT) // a suspended template would not notice that it is to end
	close(p.stopped)
}

func (p *preloadPhase) Kill(r supervisor.Request) {
	select {
	case <-p.stopped:
	default:
		p.Stop(r)
	}
}

func (p *preloadPhase) Suspend(done func()) {
	p.signalTemplate(unix.SIGSTOP)
	done()
}

func (p *preloadPhase) Pass(sig syscall.Signal) {
	if sig == unix.SIGCONT {
		p.signalTemplate(sig)
	}
}

// signalTemplate signals the template's process group unless the template is gone. The pid of a
// template that has been waited for may belong to another process.
func (j *job) signalTemplate(sig syscall.Signal) {
	select {
	case <-j.template.Dead():
	default:
		_ = unix.Kill(-j.template.Facts().PID, sig) // it may have ended this very moment
	}
}

// attemptPhase handles requests during an attempt of Run.
type attemptPhase struct {
	*job
	*Attempt
}

// Stop asks the workers to end.
func (p *attemptPhase) Stop(r supervisor.Request) {
	if !r.Hurry {
		p.announce(r, fmt.Sprintf(", up to %s; once more kills them", p.job.cfg.Grace))
	}
	sig := r.Signal
	if sig == unix.SIGPIPE {
		sig = stopSignal // the pipe was the launcher's, not the workers'
	}
	p.Attempt.Stop(sig)
}

// Hurry shortens the grace period to a moment. The job may have been stopped before.
func (p *attemptPhase) Hurry(r supervisor.Request) {
	p.announce(r, " at once")
	p.Attempt.hurry()
}

// announce logs that the job is being stopped and what the user can do about it.
func (p *attemptPhase) announce(r supervisor.Request, how string) {
	workers := plural.Of(len(p.job.plan.Workers), "%d worker", "%d workers")
	p.job.cfg.Log(fmt.Sprintf("%s: stopping %s%s", r.Why(), workers, how))
}

// Kill ends the grace period of the attempt.
func (p *attemptPhase) Kill(r supervisor.Request) {
	p.job.cfg.Log(r.Why() + ": killing what is left")
	if p.job.template != nil {
		p.job.template.Close() // a template that hangs may keep the attempt waiting for a worker
	}
	p.Attempt.Kill()
}

// Suspend stops the workers.
func (p *attemptPhase) Suspend(done func()) { p.Attempt.suspend(done) }

// Pass passes a signal on to the workers.
func (p *attemptPhase) Pass(sig syscall.Signal) { p.Attempt.Signal(sig) }

// startedPhase handles requests during an attempt of Start.
type startedPhase struct {
	supervisor.NoPhase
	*Attempt
}

// Stop ends the attempt for a reason of the launcher's own, such as a fatal XID.
func (p startedPhase) Stop(r supervisor.Request) {
	p.post("request: "+r.String(), func() {
		if p.err == nil {
			p.err = r.Err
		}
		p.stopRequested(r.Signal)
	})
}

// Kill completes the interface. With Start, nobody requests it.
func (p startedPhase) Kill(r supervisor.Request) { p.Attempt.Kill() }

// Suspend stops the workers.
func (p startedPhase) Suspend(done func()) { p.suspend(done) }

// Pass passes a signal on to the workers.
func (p startedPhase) Pass(sig syscall.Signal) { p.Attempt.Signal(sig) }

// gpuLeftovers is the phase in which the job looks for processes that it has left on its GPUs. It
// does not look if the user has asked for the end, because the user would have to wait.
func (j *job) gpuLeftovers(r Result) []report.GPUProcess {
	if len(r.Workers) == 0 || r.Hurried || r.Signal != "" {
		return nil
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	if !j.sup.Begin("leftovers", leftoversPhase{cancel: cancel}) {
		return nil
	}
	defer j.sup.End()
	return j.monitor.Leftovers(ctx)
}

// leftoversPhase handles requests during gpuLeftovers.
type leftoversPhase struct {
	supervisor.NoPhase
	cancel context.CancelFunc
}

func (p leftoversPhase) Stop(supervisor.Request) { p.cancel() }
func (p leftoversPhase) Kill(supervisor.Request) { p.cancel() }
