package launcher

import (
	"fmt"
	"strings"
	"testing"

	"github.com/gpulaunch/gpulaunch/affinity"
	"github.com/gpulaunch/gpulaunch/launcher/launchertest"
	"github.com/gpulaunch/gpulaunch/launcher/plan"
)

// TestReplan checks that a restart uses the plan that Replan returns, and that a job is not
// restarted without a plan that fits.
func TestReplan(t *testing.T) {
	all := launchertest.AllowedCPUs(t)
	one := affinity.CPUs(all.Max())
	h := newHarness(t, "succeed-after", "1")
	h.cfg.Replan = func(p plan.Plan) (plan.Plan, error) {
		workers := append([]plan.Worker{}, p.Workers...)
		for i := range workers {
			workers[i].CPUs = one
		}
		p.Workers, p.MasterPort = workers, 1
		return p, nil
	}
	r := h.run(2, func(p *plan.Plan) { p.MaxRestarts = 1 })
	if r.ExitCode != 0 || len(r.Earlier) != 1 || r.Earlier[0].CPUs != all.String() ||
		r.Workers[0].CPUs != one.String() {
		t.Errorf("%+v", r)
	}
	for name, replan := range map[string]func(plan.Plan) (plan.Plan, error){
		"cannot be": func(p plan.Plan) (plan.Plan, error) {
			return p, fmt.Errorf("no topology")
		},
		"1 workers instead of 2": func(p plan.Plan) (plan.Plan, error) {
			p.Workers = p.Workers[:1]
			return p, nil
		},
	} {
		h := newHarness(t, "succeed-after", "1")
		h.cfg.Replan = replan
		r := h.run(2, func(p *plan.Plan) { p.MaxRestarts = 1 })
		if r.ExitCode != 9 || r.Restarts != 0 || !strings.Contains(strings.Join(h.logged, "\n"),
			"not restarting: ") {
			t.Errorf("%s: %+v %q", name, r, h.logged)
		}
	}
}
