package launcher

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/gpulaunch/gpulaunch/affinity"
	"github.com/gpulaunch/gpulaunch/gpu"
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

// listedGPUs are the GPUs that NVML lists.
type listedGPUs []gpu.DeviceSample

func (g listedGPUs) Sample(context.Context) (gpu.Sample, error) {
	return gpu.Sample{Devices: g}, nil
}
func (g listedGPUs) Inventory(context.Context) (gpu.Inventory, error) {
	return gpu.Inventory{}, fmt.Errorf("not asked for")
}
func (listedGPUs) Subscribe(func(gpu.Event), func(string)) {}

// TestNoRestartOnLostGPU checks that a job is not restarted on a GPU that is lost, with or without
// Replan, but on another one.
func TestNoRestartOnLostGPU(t *testing.T) {
	same := func(p plan.Plan) (plan.Plan, error) { return p, nil }
	around := func(p plan.Plan) (plan.Plan, error) {
		p.Workers = append([]plan.Worker{}, p.Workers...)
		p.Workers[1].Device = &plan.Device{Index: 2, UUID: "GPU-2"}
		return p, nil
	}
	all := listedGPUs{{UUID: "GPU-0"}, {Index: 1, UUID: "GPU-1"}, {Index: 2, UUID: "GPU-2"}}
	for name, c := range map[string]struct {
		gpus   listedGPUs
		replan func(plan.Plan) (plan.Plan, error)
		code   int
	}{
		"lost, no Replan": {listedGPUs{all[0], all[2]}, nil, 9},
		"lost, same plan": {listedGPUs{all[0], all[2]}, same, 9},
		"lost, other GPU": {listedGPUs{all[0], all[2]}, around, 0},
		"not lost":        {all, nil, 0},
	} {
		h := newHarness(t, "succeed-after", "1")
		h.cfg.Replan, h.cfg.GPUs = c.replan, c.gpus
		r := h.run(2, func(p *plan.Plan) {
			p.MaxRestarts, p.Mode = 1, plan.ModeGPU
			for i := range p.Workers {
				p.Workers[i].Device = &plan.Device{Index: i, UUID: fmt.Sprint("GPU-", i)}
			}
		})
		said := strings.Join(h.logged, "\n")
		const lost = "GPU 1 (rank 1) is lost: NVML no longer lists it"
		refused := strings.Contains(said, "not restarting: "+lost)
		if r.ExitCode != c.code || refused != (c.code == 9) ||
			strings.Contains(said, lost) != (len(c.gpus) < 3) {
			t.Errorf("%s: exit code %d\n%s", name, r.ExitCode, said)
		}
	}
}
