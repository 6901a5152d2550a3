package launcher

import (
	"slices"
	"testing"
	"testing/synctest"

	"golang.org/x/sys/unix"

	"github.com/gpulaunch/gpulaunch/launcher/internal/process"
	"github.com/gpulaunch/gpulaunch/launcher/plan"
	"github.com/gpulaunch/gpulaunch/launcher/report"
	"github.com/gpulaunch/gpulaunch/launcher/supervisor"
)

// failedResult is the result of an attempt whose only worker has failed.
func failedResult() (r Result) {
	r.Workers = []report.Worker{{RootCause: true, ExitStatus: ExitStatus{Code: 3}}}
	return r
}

// newJob returns a job that may be restarted once.
func (h *harness) newJob() *job {
	h.t.Helper()
	p := h.plan(1)
	p.MaxRestarts = 1
	s, err := newShared(&p, &h.cfg)
	if err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(s.close)
	return &job{shared: s, plan: p}
}

// restarts returns how many restarts observers have been told of.
func (h *harness) restarts() (n int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, e := range h.events {
		if e.Kind == JobRestarting {
			n++
		}
	}
	return n
}

// TestWhenAJobIsRestarted checks that a failed job is restarted, but not next to a worker that
// cannot be killed, which still has its GPU and its memory, nor without a failure of a worker, nor
// more often than permitted, nor once it is to end.
func TestWhenAJobIsRestarted(t *testing.T) {
	for what, c := range map[string]struct {
		change func(*job, *Result)
		want   bool
	}{
		"a worker has failed": {func(*job, *Result) {}, true},
		"a worker cannot be killed": {func(_ *job, r *Result) {
			r.Unkillable = []process.Descendant{{PID: 4711, Name: "python3"}}
		}, false},
		"no worker has failed": {func(_ *job, r *Result) {
			r.Workers[0].RootCause = false
		}, false},
		"it has been restarted":   {func(j *job, _ *Result) { j.attempt = 1 }, false},
		"no restart is permitted": {func(j *job, _ *Result) { j.plan.MaxRestarts = 0 }, false},
		"the end has been asked for": {func(j *job, _ *Result) {
			j.sup.Request(supervisor.Request{Signal: unix.SIGTERM})
		}, false},
	} {
		h := newHarness(t)
		j, r := h.newJob(), failedResult()
		c.change(j, &r)
		before := j.attempt
		if got := j.mayRestart(r) && j.prepareRestart(r); got != c.want || h.restarts() == 1 != c.want {
			t.Errorf("%s: restarted %v, observers know of %d restarts", what, got, h.restarts())
		}
		if j.attempt != before && !c.want || len(j.earlier.list) == 1 != c.want {
			t.Errorf("%s: attempt %d, earlier failures %v", what, j.attempt, j.earlier)
		}
	}
}

// TestNoRestartDuringSuspension checks that a failed job that is suspended waits with its restart,
// the new plan included, and that a request for the end takes the restart's place.
func TestNoRestartDuringSuspension(t *testing.T) {
	for what, c := range map[string]struct {
		request supervisor.Request
		want    []string
	}{
		"continued": {supervisor.Request{Signal: unix.SIGCONT}, []string{"continued", "planned"}},
		"stopped":   {supervisor.Request{Signal: unix.SIGTERM}, []string{"continued"}},
	} {
		synctest.Test(t, func(t *testing.T) {
			h := newHarness(t)
			j := h.newJob()
			var order []string
			j.cfg.Replan = func(p plan.Plan) (plan.Plan, error) {
				order = append(order, "planned")
				return p, nil
			}
			h.sup.Request(supervisor.Request{Signal: unix.SIGTSTP})
			done := make(chan bool)
			go func() { done <- j.prepareRestart(failedResult()) }()
			synctest.Wait() // until it waits, or has ended
			order = append(order, "continued")
			h.sup.Request(c.request)
			if got := <-done; got != (len(c.want) == 2) || !slices.Equal(order, c.want) {
				t.Errorf("%s: restarted %v, %q, want %q", what, got, order, c.want)
			}
		})
	}
}
