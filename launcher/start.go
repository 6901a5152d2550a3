package launcher

import (
	"time"

	"github.com/gpulaunch/gpulaunch/launcher/plan"
)

// Start starts the workers of a plan and returns when all have been started. It
// is for programs that use this package as a library: one attempt, no keeper, and
// what workers leave behind is ended only with cfg.Subreaper. Should this process
// be killed, the kernel kills its workers (PR_SET_PDEATHSIG).
//
// The error says why workers could not be started, see StartError; those that had
// been are gone by then.
func Start(p plan.Plan, cfg Config) (*Group, error) {
	return start(p, cfg, nil)
}

// start is Start with something more to do at the end of the job.
func start(p plan.Plan, cfg Config, ended func()) (*Group, error) {
	s, err := newStage(&p, &cfg)
	if err != nil {
		return nil, err
	}
	if ended != nil {
		s.closers = append(s.closers, ended)
	}
	if err = s.startTemplate(&p); err == nil {
		err = s.awaitTemplate()
	}
	if err != nil {
		s.close()
		return nil, err
	}
	cfg.tell(0, Event{Kind: JobStarted, Plan: &p})
	cg, remove := s.makeCgroup(&p)
	g := startGroup(&p, s, 0, cg, func() {
		remove()
		cfg.tell(0, Event{Kind: JobEnded})
		s.close()
	})
	<-g.begun
	if g.startErr != nil {
		<-g.done
		return nil, g.startErr
	}
	return g, nil
}

// Join waits for the end of all workers, for no longer than the timeout; a
// negative one is none, 0 only looks. It reports whether all are gone, and then
// how the job ended: nil, a *RaisedError or *ExitedError for the first worker that
// failed by itself, a *StoppedError, or why the launcher could not do its work. It
// may be called any number of times and from several goroutines.
func (g *Group) Join(timeout time.Duration) (done bool, err error) {
	var expired <-chan time.Time
	if timeout >= 0 {
		timer := time.NewTimer(timeout)
		defer timer.Stop()
		expired = timer.C
	}
	select {
	case <-g.done:
		return true, g.result.Failure()
	default:
	}
	select {
	case <-g.done:
		return true, g.result.Failure()
	case <-expired:
		return false, nil
	}
}

// Wait waits for the end of all workers and says how the job ended, as Join does.
func (g *Group) Wait() error {
	_, err := g.Join(-1)
	return err
}

// PIDs are the process ids of the workers by local rank, of those that have ended, too.
func (g *Group) PIDs() []int {
	<-g.begun
	pids := make([]int, len(g.workers))
	for i, w := range g.workers {
		pids[i] = w.pid
	}
	return pids
}
