package launcher

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/gpulaunch/gpulaunch/launcher/plan"
	"github.com/gpulaunch/gpulaunch/launcher/supervisor"
)

func TestBackoff(t *testing.T) {
	const long = restartForgetAfter
	for name, c := range map[string]struct {
		backoff backoff
		ran     []time.Duration
		want    []time.Duration
	}{
		"doubled up to the longest": {backoff{first: 1, longest: 5}, []time.Duration{1, 1, 1, 1, 1},
			[]time.Duration{1, 2, 4, 5, 5}},
		"forgotten after a long run": {backoff{first: 1, longest: 9},
			[]time.Duration{1, 1, long - 1, long, 1}, []time.Duration{1, 2, 4, 1, 2}},
		"constant": {backoff{first: 3, longest: 3}, []time.Duration{1, 1}, []time.Duration{3, 3}},
		"none":     {backoff{longest: 9}, []time.Duration{1, 1}, []time.Duration{0, 0}},
		"the first is too long": {backoff{first: 9, longest: 3}, []time.Duration{1, 1},
			[]time.Duration{3, 3}},
		"no overflow": {backoff{first: 1 << 62, longest: 1<<63 - 1}, []time.Duration{1, 1, 1},
			[]time.Duration{1 << 62, 1<<63 - 1, 1<<63 - 1}},
	} {
		t.Run(name, func(t *testing.T) {
			var got []time.Duration
			for _, ran := range c.ran {
				got = append(got, c.backoff.next(ran))
			}
			if !slices.Equal(got, c.want) {
				t.Errorf("the delays are %v, want %v", got, c.want)
			}
		})
	}
}

// onDelay calls f when a restart is delayed.
func (h *harness) onDelay(f func(Event)) {
	observe := h.cfg.Observe
	h.cfg.Observe = func(e Event) {
		observe(e)
		if e.Kind == JobRestartDelayed {
			f(e)
		}
	}
}

// count returns how many events of a kind there were.
func (h *harness) count(kind EventKind) (n int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, e := range h.events {
		if e.Kind == kind {
			n++
		}
	}
	return n
}

func restarts(n int) func(*plan.Plan) { return func(p *plan.Plan) { p.MaxRestarts = n } }

func TestRestartDelay(t *testing.T) {
	h := newHarness(t, "succeed-after", "3")
	h.cfg.RestartDelay, h.cfg.RestartMaxDelay = 20*time.Millisecond, 50*time.Millisecond
	var delays []time.Duration
	h.onDelay(func(e Event) {
		delays = append(delays, e.Delay)
		if !strings.Contains(e.Text, "exited with code 9") || e.Attempt != len(delays)-1 {
			t.Errorf("the event is %+v", e)
		}
	})
	r := h.run(1, restarts(3))
	want := []time.Duration{20 * time.Millisecond, 40 * time.Millisecond, 50 * time.Millisecond}
	if r.ExitCode != 0 || r.Restarts != 3 || !slices.Equal(delays, want) ||
		r.RestartDelaySeconds < 0.11 {
		t.Errorf("the delays are %v, want %v: %+v", delays, want, r)
	}
	for i, text := range []string{"20ms (1 of 3", "40ms (2 of 3", "50ms (3 of 3"} {
		if !strings.Contains(h.logged[i], "restarting all workers in "+text+" restarts)") {
			t.Errorf("line %d is %q, want it to have %q", i, h.logged[i], text)
		}
	}
	if n := h.count(JobRestarting); n != 3 || len(h.logged) != 3 {
		t.Errorf("%d restarts and the lines %q", n, h.logged)
	}
}

// TestNoRestartDelay is the negative control: without a delay, nothing waits and nothing says so.
func TestNoRestartDelay(t *testing.T) {
	h := newHarness(t, "succeed-after", "2")
	r := h.run(1, restarts(2))
	if r.ExitCode != 0 || h.count(JobRestartDelayed) != 0 || r.RestartDelaySeconds != 0 {
		t.Errorf("%+v", r)
	}
	if !strings.Contains(h.logged[1], "restarting all workers (2 of 2 restarts)") {
		t.Errorf("the lines are %q", h.logged)
	}
}

// TestStopDuringRestartDelay ends jobs that would wait for an hour.
func TestStopDuringRestartDelay(t *testing.T) {
	for name, stop := range map[string]func(h *harness, cancel context.CancelCauseFunc){
		"signal": func(h *harness, _ context.CancelCauseFunc) {
			h.sup.Request(supervisor.Request{Signal: unix.SIGTERM})
		},
		"the keeper is gone": func(h *harness, _ context.CancelCauseFunc) {
			h.sup.Request(supervisor.Request{Signal: unix.SIGTERM, Direct: true, Hurry: true})
		},
		"kill": func(h *harness, _ context.CancelCauseFunc) {
			h.sup.Request(supervisor.Request{Signal: unix.SIGTERM, Kill: true})
		},
		"stop and kill": func(h *harness, _ context.CancelCauseFunc) {
			h.sup.Request(supervisor.Request{Signal: unix.SIGTERM})
			h.sup.Request(supervisor.Request{Signal: unix.SIGTERM, Kill: true})
		},
		"quit": func(h *harness, _ context.CancelCauseFunc) {
			h.sup.Request(supervisor.Request{Signal: unix.SIGTERM, Quit: true})
		},
		"suspended": func(h *harness, _ context.CancelCauseFunc) {
			h.sup.Request(supervisor.Request{Signal: unix.SIGTSTP, Done: func() {}})
			h.sup.Request(supervisor.Request{Signal: unix.SIGTERM})
		},
		"context": func(_ *harness, cancel context.CancelCauseFunc) {
			cancel(errors.New("enough"))
		},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHarness(t, "succeed-after", "1")
			h.cfg.RestartDelay = time.Hour
			ctx, cancel := context.WithCancelCause(context.Background())
			defer cancel(nil)
			h.onDelay(func(Event) { stop(h, cancel) })
			p := h.plan(1)
			p.MaxRestarts = 1
			r := Run(ctx, p, h.cfg)
			if r.ExitCode != 9 || r.Signal != "SIGTERM" || r.Restarts != 0 || len(r.Earlier) != 0 {
				t.Errorf("%+v", r)
			}
			if n := h.count(WorkerStarted); n != 1 {
				t.Errorf("%d workers were started, want 1", n)
			}
		})
	}
}

// TestSuspendDuringRestartDelay checks that no attempt begins while the job is suspended, even if
// the delay is over.
func TestSuspendDuringRestartDelay(t *testing.T) {
	h := newHarness(t, "succeed-after", "1")
	h.cfg.RestartDelay = time.Millisecond
	suspended := make(chan struct{})
	h.onDelay(func(Event) {
		h.sup.Request(supervisor.Request{Signal: unix.SIGTSTP, Done: func() { close(suspended) }})
	})
	done := make(chan Result)
	go func() { done <- h.run(1, restarts(1)) }()
	<-suspended
	h.awaitResumption(done)
}
