package launcher

import (
	"slices"
	"strings"
	"testing"

	"github.com/gpulaunch/gpulaunch/launcher/plan"
)

// TestEventsOfARestart checks that observers get the events of each attempt with its number, and
// with the plan that the attempt follows.
func TestEventsOfARestart(t *testing.T) {
	h := newHarness(t, "succeed-after", "1")
	h.cfg.Replan = func(p plan.Plan) (plan.Plan, error) {
		p.Warnings = append(slices.Clone(p.Warnings), "the machine has changed")
		p.MasterPort, p.RunID = 9, "another"
		return p, nil
	}
	r := h.run(1, func(p *plan.Plan) {
		p.MaxRestarts, p.RunID, p.Warnings = 1, "r", []string{"known before"}
	})
	if r.ExitCode != 0 || r.Restarts != 1 || r.RunID != "r" {
		t.Errorf("%+v", r)
	}
	var got []string
	for _, e := range h.events {
		if e.Kind == WorkerSampled {
			continue // on a loaded machine a worker may live that long
		}
		word := string(e.Kind)
		if e.Plan != nil {
			word += " " + e.Plan.RunID
		}
		if e.Attempt > 0 {
			word += " again"
		}
		got = append(got, word)
	}
	want := []string{"job_started r", "worker_started", "worker_exited", "job_stopping",
		"job_restarting r", "worker_started again", "worker_exited again", "job_ended again"}
	if !slices.Equal(got, want) {
		t.Errorf("%q\nwant %q", got, want)
	}
	all := strings.Join(h.logged, "\n")
	if strings.Count(all, "warning: the machine has changed") != 1 ||
		strings.Contains(all, "known before") {
		t.Errorf("logged %q", h.logged)
	}
	if !strings.Contains(all, "; restarting all workers (1 of 1 restarts)") {
		t.Errorf("the restart is not announced: %q", h.logged)
	}
	if out := h.stdout.String(); !strings.Contains(out, "attempt 1 port 1\n") {
		t.Errorf("the restart has another port: %q", out)
	}
}
