package plan_test

import (
	"strings"
	"testing"

	"github.com/gpulaunch/gpulaunch/launcher/plan"
	"github.com/gpulaunch/gpulaunch/launcher/plan/plantest"

	"github.com/google/go-cmp/cmp"

	"github.com/gpulaunch/gpulaunch/affinity"
)

// TestQuotaCapsThreads plans for a container that has a CPU quota on a machine of 8 cores.
func TestQuotaCapsThreads(t *testing.T) {
	for quota, want := range map[float64]string{0: "4", 100: "4", 5: "2", 1.5: "1", 0.5: "1"} {
		m := plantest.TwoNodes("unset", 0, 1)
		m.Quota = quota
		for _, w := range plantest.Plan(t, m, plantest.Options()).Workers {
			if got := w.Env["OMP_NUM_THREADS"]; got != want {
				t.Errorf("quota %v: %s threads, want %s", quota, got, want)
			}
		}
	}
}

func TestClosestNIC(t *testing.T) {
	m := plantest.TwoNodes("unset", 0, 1)
	ports := []affinity.NICPort{{Number: 1, State: "DOWN"}, {Number: 2, State: "ACTIVE"}}
	m.NICs = []affinity.NIC{{Name: "mlx5_0", NUMANode: 1, Ports: ports},
		{Name: "mlx5_1", NUMANode: 0, Ports: ports}}
	o := plantest.Options()
	for _, w := range plantest.Plan(t, m, o).Workers { // the negative control: off by default
		if w.NIC != "" || w.Env["NCCL_IB_HCA"] != "" || w.Env["UCX_NET_DEVICES"] != "" {
			t.Errorf("not asked for: %+v", w)
		}
	}
	o.NIC = plan.NICClosest
	p := plantest.Plan(t, m, o)
	var got []string
	for _, w := range p.Workers {
		got = append(got, w.NIC+" "+w.Env["NCCL_IB_HCA"]+" "+w.Env["UCX_NET_DEVICES"])
	}
	if diff := cmp.Diff([]string{"mlx5_1 =mlx5_1 mlx5_1:2", "mlx5_0 =mlx5_0 mlx5_0:2"},
		got); diff != "" {
		t.Error(diff)
	}
	o.Environ = []string{"NCCL_IB_HCA=mlx5_7", "UCX_NET_DEVICES=all"}
	if w := plantest.Plan(t, m, o).Workers[0]; w.Env["NCCL_IB_HCA"] != "" ||
		w.Env["UCX_NET_DEVICES"] != "" {
		t.Errorf("what the user has set is overridden: %v", w.Env)
	}
	m.NICs = nil
	if p := plantest.Plan(t, m, o); !strings.Contains(strings.Join(p.Warnings, "\n"),
		"/sys/class/infiniband") {
		t.Errorf("%q", p.Warnings)
	}
	if p := plantest.Plan(t, plantest.TwoNodes("unset"), o); !strings.Contains(
		strings.Join(p.Warnings, "\n"), "without a GPU") {
		t.Errorf("%q", p.Warnings)
	}
}

// TestOneWarningForAllWorkers has workers that share GPUs of which nothing is known, and whose CPUs
// are in no known NUMA node.
func TestOneWarningForAllWorkers(t *testing.T) {
	m := plantest.TwoNodes("unset", -1, -1)
	m.NICs = []affinity.NIC{{Name: "mlx5_0", NUMANode: 1}}
	for i := range m.Topology.Nodes {
		m.Topology.Nodes[i].CPUs, m.Topology.Nodes[i].MemoryBytes = affinity.CPUSet{}, 1<<30
	}
	o := plantest.Options()
	o.NIC, o.Memory, o.Affinity.Mode = plan.NICClosest, affinity.MemoryBind, affinity.ModeExclusive
	o.Workers, o.Oversubscribe = plan.Workers(4), true
	want := []string{
		"--nic=closest has no effect for GPU 0 (0000:01:00.0), GPU 1 (0000:02:00.0): no RDMA " +
			"device has an active port, or nobody knows where the GPU is",
		"nobody knows the NUMA node of CPUs 0-15; using the memory of all nodes that have some, " +
			"0-1",
	}
	if diff := cmp.Diff(want, plantest.Plan(t, m, o).Warnings); diff != "" {
		t.Error(diff)
	}
}

func TestInheritedBindings(t *testing.T) {
	for variable, warned := range map[string]bool{
		"OMP_PROC_BIND=close": true, "GOMP_CPU_AFFINITY=0-7": true, "KMP_AFFINITY=compact": true,
		"OMP_PROC_BIND=false": false, "KMP_AFFINITY=none": false, "OMP_PROC_BIND=": false,
		"OTHER=close": false,
	} {
		o := plantest.Options()
		o.Environ = []string{variable}
		p := plantest.Plan(t, plantest.TwoNodes("unset", 0), o)
		if (len(p.Warnings) == 1) != warned {
			t.Errorf("%s: warnings %q", variable, p.Warnings)
		}
		o.Affinity.Mode = affinity.ModeNone
		if p := plantest.Plan(t, plantest.TwoNodes("unset", 0), o); len(p.Warnings) > 0 {
			t.Errorf("%s, --affinity=none: warnings %q", variable, p.Warnings)
		}
	}
}

func TestMemoryNodes(t *testing.T) {
	m := plantest.TwoNodes("unset", 0, 1)
	for i := range m.Topology.Nodes {
		m.Topology.Nodes[i].MemoryBytes = 1 << 30
	}
	o := plantest.Options()
	if w := plantest.Plan(t, m, o).Workers[1]; w.MemoryNodes != nil {
		t.Errorf("not asked for: %v", w.MemoryNodes)
	}
	o.Memory = affinity.MemoryBind
	p := plantest.Plan(t, m, o)
	if p.Memory != affinity.MemoryBind || !cmp.Equal(p.Workers[0].MemoryNodes, []int{0}) ||
		!cmp.Equal(p.Workers[1].MemoryNodes, []int{1}) {
		t.Errorf("%s %v %v", p.Memory, p.Workers[0].MemoryNodes, p.Workers[1].MemoryNodes)
	}
}
