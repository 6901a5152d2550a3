package launcher

import (
	"context"

	"github.com/gpulaunch/gpulaunch/launcher/plan"
)

// Start starts the workers of a plan and returns when all have been started. It is one
// attempt, for programs that watch it themselves; Run restarts failed jobs. When ctx ends,
// the workers are stopped as by Stop(SIGTERM).
//
// What workers leave behind is ended only with cfg.Subreaper. Should this process be
// killed, the kernel kills its workers (PR_SET_PDEATHSIG).
//
// The error says why workers could not be started, see StartError; those that had been are
// gone by then.
func Start(ctx context.Context, p plan.Plan, cfg Config) (*Attempt, error) {
	return start(ctx, p, cfg, nil)
}

// start is Start with something more to do at the end of the job.
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
	cg, remove := s.makeCgroup(&p)
	a := newAttempt(&p, s, 0, cg, func() {
		remove()
		s.monitor.Close()
		s.emit(Event{Kind: JobEnded})
		s.close()
	})
	stop := context.AfterFunc(ctx, func() { a.Stop(stopSignal) })
	s.closers = append(s.closers, func() { stop() })
	s.sup.Begin("attempt", startedPhase{Attempt: a}) // nobody has stopped it yet
	go a.run()
	<-a.begun
	if a.startErr != nil {
		<-a.done
		return nil, a.startErr
	}
	return a, nil
}
