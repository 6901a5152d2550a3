package launcher

import (
	"strings"
	"testing"

	"github.com/gpulaunch/gpulaunch/affinity"
	"github.com/gpulaunch/gpulaunch/launcher/launchertest"
	"github.com/gpulaunch/gpulaunch/launcher/plan"
)

// TestWorkerWithOtherCPUsIsNamed checks that a worker that did not get all CPUs of its plan is
// named when it starts. The kernel drops CPUs that are not there without an error.
func TestWorkerWithOtherCPUsIsNamed(t *testing.T) {
	const missing = 8000
	for name, more := range map[string]affinity.CPUSet{
		"a CPU is missing": affinity.CPUs(missing), "all are there": {},
	} {
		h := newHarness(t, "print", "", "")
		all := launchertest.AllowedCPUs(t)
		r := h.run(1, func(p *plan.Plan) { p.Workers[0].CPUs = all.Union(more) })
		want := "runs on CPUs " + all.String() + " instead of " + all.Union(more).String()
		if warned := strings.Contains(strings.Join(h.logged, "\n"), want); r.ExitCode != 0 ||
			warned == more.IsEmpty() {
			t.Errorf("%s: logged %q, result %+v", name, h.logged, r)
		}
	}
}
