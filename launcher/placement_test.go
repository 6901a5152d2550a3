package launcher

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/gpulaunch/gpulaunch/affinity"
)

func mustPlan(t *testing.T, m Machine, o Options) Plan {
	t.Helper()
	p, err := NewPlan(m, o)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// TestQuotaCapsThreads: a container with a quota of 5 CPUs on a machine of 8 cores.
func TestQuotaCapsThreads(t *testing.T) {
	for quota, want := range map[float64]string{0: "4", 100: "4", 5: "2", 1.5: "1", 0.5: "1"} {
		m := twoNodes("unset", 0, 1)
		m.Quota = quota
		for _, w := range mustPlan(t, m, options()).Workers {
			if got := w.Env["OMP_NUM_THREADS"]; got != want {
				t.Errorf("quota %v: %s threads, want %s", quota, got, want)
			}
		}
	}
}

func TestClosestNIC(t *testing.T) {
	m := twoNodes("unset", 0, 1)
	ports := []affinity.NICPort{{Number: 1, State: "DOWN"}, {Number: 2, State: "ACTIVE"}}
	m.NICs = []affinity.NIC{{Name: "mlx5_0", NUMANode: 1, Ports: ports}, {Name: "mlx5_1", NUMANode: 0, Ports: ports}}
	o := options()
	for _, w := range mustPlan(t, m, o).Workers { // the control: off by default
		if w.NIC != "" || w.Env["NCCL_IB_HCA"] != "" || w.Env["UCX_NET_DEVICES"] != "" {
			t.Errorf("not asked for: %+v", w)
		}
	}
	o.NIC = NICClosest
	p := mustPlan(t, m, o)
	var got []string
	for _, w := range p.Workers {
		got = append(got, w.NIC+" "+w.Env["NCCL_IB_HCA"]+" "+w.Env["UCX_NET_DEVICES"])
	}
	if diff := cmp.Diff([]string{"mlx5_1 =mlx5_1 mlx5_1:2", "mlx5_0 =mlx5_0 mlx5_0:2"}, got); diff != "" {
		t.Error(diff)
	}
	o.Inherited = Inherit([]string{"NCCL_IB_HCA=mlx5_7", "UCX_NET_DEVICES=all"})
	if w := mustPlan(t, m, o).Workers[0]; w.Env["NCCL_IB_HCA"] != "" || w.Env["UCX_NET_DEVICES"] != "" {
		t.Errorf("what the user has set is overridden: %v", w.Env)
	}
	m.NICs = nil
	if p := mustPlan(t, m, o); !strings.Contains(strings.Join(p.Warnings, "\n"), "/sys/class/infiniband") {
		t.Errorf("%q", p.Warnings)
	}
	if p := mustPlan(t, twoNodes("unset"), o); !strings.Contains(strings.Join(p.Warnings, "\n"), "without a GPU") {
		t.Errorf("%q", p.Warnings)
	}
}

func TestInheritedBindings(t *testing.T) {
	for variable, warned := range map[string]bool{
		"OMP_PROC_BIND=close": true, "GOMP_CPU_AFFINITY=0-7": true, "KMP_AFFINITY=compact": true,
		"OMP_PROC_BIND=false": false, "KMP_AFFINITY=none": false, "OMP_PROC_BIND=": false, "OTHER=close": false,
	} {
		o := options()
		o.Inherited = Inherit([]string{variable})
		if p := mustPlan(t, twoNodes("unset", 0), o); (len(p.Warnings) == 1) != warned {
			t.Errorf("%s: warnings %q", variable, p.Warnings)
		}
		o.Affinity.Mode = affinity.ModeNone
		if p := mustPlan(t, twoNodes("unset", 0), o); len(p.Warnings) > 0 {
			t.Errorf("%s, nothing bound: warnings %q", variable, p.Warnings)
		}
	}
}

func TestMemoryNodes(t *testing.T) {
	m := twoNodes("unset", 0, 1)
	for i := range m.Topology.Nodes {
		m.Topology.Nodes[i].MemoryBytes = 1 << 30
	}
	o := options()
	if w := mustPlan(t, m, o).Workers[1]; w.MemoryNodes != nil {
		t.Errorf("not asked for: %v", w.MemoryNodes)
	}
	o.Memory = affinity.MemoryBind
	p := mustPlan(t, m, o)
	if p.Memory != affinity.MemoryBind || !cmp.Equal(p.Workers[0].MemoryNodes, []int{0}) || !cmp.Equal(p.Workers[1].MemoryNodes, []int{1}) {
		t.Errorf("%s %v %v", p.Memory, p.Workers[0].MemoryNodes, p.Workers[1].MemoryNodes)
	}
}

// TestReplan: a restart goes by the CPUs of then.
func TestReplan(t *testing.T) {
	all, err := affinity.Current(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	one := affinity.CPUs(all.Max())
	h := newHarness(t, "succeed-after", "1")
	h.cfg.Replan = func(p Plan) (Plan, error) {
		workers := append([]Worker{}, p.Workers...)
		for i := range workers {
			workers[i].CPUs = one
		}
		p.Workers, p.MasterPort = workers, 1
		return p, nil
	}
	r := h.run(2, func(p *Plan) { p.MaxRestarts = 1 })
	if r.ExitCode != 0 || len(r.Earlier) != 1 || !r.Earlier[0].Worker.CPUs.Equal(all) || !r.Workers[0].Worker.CPUs.Equal(one) {
		t.Errorf("%+v", r)
	}
	for name, replan := range map[string]func(Plan) (Plan, error){
		"cannot be":              func(p Plan) (Plan, error) { return p, fmt.Errorf("no topology") },
		"1 workers instead of 2": func(p Plan) (Plan, error) { p.Workers = p.Workers[:1]; return p, nil },
	} {
		h := newHarness(t, "succeed-after", "1")
		h.cfg.Replan = replan
		r := h.run(2, func(p *Plan) { p.MaxRestarts = 1 })
		if r.ExitCode != 9 || r.Restarts != 0 || !strings.Contains(strings.Join(h.logged, "\n"), "not restarting: ") {
			t.Errorf("%s: %+v %q", name, r, h.logged)
		}
	}
}
