package launcher

import (
	"context"

	"github.com/gpulaunch/gpulaunch/launcher/plan"
)

// Start starts the workers of a plan and returns when all have been started. It makes a single
// attempt, for programs that watch it themselves; Run also restarts failed jobs. When ctx ends, the
// workers are stopped as by Stop(SIGTERM).
//
// What workers leave behind is ended only with cfg.Subreaper. If this process is killed, the kernel
// kills its workers (prctl(2), PR_SET_PDEATHSIG).
//
// If a worker cannot be started, Start ends those that have been started and returns the reason,
// see StartError.
func Start(ctx context.Context, p plan.Plan, cfg Config) (*Attempt, error) {
	return start(ctx, p, cfg, nil)
}

// start does what Start does, and calls ended at the end of the job unless it is nil.
func start(ctx context.Context, p plan.Plan, cfg Config, ended func()) (*Attempt, error) {
	s, err := newShared(&p, &cfg)
	if err != nil {
		return nil, err
	}
	if ended != nil {
		s.closers = append(s.closers, ended)
	}
	if err = s.startTemplate(&p); err == nil {
		err = s.awaitTemplate(ctx)
	}
	if err != nil {
		s.close()
		return nil, err
	}
	s.emit(Event{Kind: JobStarted, Plan: &p})
	s.monitor.Start()
	cg := s.makeCgroup(&p)
	var a *Attempt
	a = newAttempt(&p, s, 0, cg, func() {
		s.endCgroup(cg, a.result.ExitCode)
		s.monitor.Close()
		s.emit(Event{Kind: JobEnded})
		s.close()
	})
	stop := context.AfterFunc(ctx, func() { a.Stop(stopSignal) })
	s.closers = append(s.closers, func() { stop() })
	phase := startedPhase{Attempt: a}
	if !s.sup.Begin("attempt", phase) { // the monitor has reported a fatal XID already
		if first, stopped := s.sup.Stopped(); stopped {
			phase.Stop(first)
		}
	}
	go a.run()
	<-a.startDone
	if a.startErr != nil {
		<-a.done
		return nil, a.startErr
	}
	return a, nil
}
