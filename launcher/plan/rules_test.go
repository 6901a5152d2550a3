package plan_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/gpulaunch/gpulaunch/affinity"
	"github.com/gpulaunch/gpulaunch/gpu"
	"github.com/gpulaunch/gpulaunch/launcher/plan"
	"github.com/gpulaunch/gpulaunch/launcher/plan/plantest"
)

// TestMatches checks when a device of a plan is a GPU of an inventory: by UUID, or by index if the
// UUIDs are unknown.
func TestMatches(t *testing.T) {
	whole := &plan.Device{Index: 1, UUID: "GPU-1"}
	instance := &plan.Device{Index: 1, UUID: "MIG-1", ParentUUID: "GPU-1"}
	unnamed := &plan.Device{Index: 1}
	for _, c := range []struct {
		d     *plan.Device
		uuid  string
		index int
		want  bool
	}{
		{nil, "GPU-1", 1, false}, {nil, "", 0, false},
		{whole, "GPU-1", 1, true}, {whole, "GPU-1", 0, true}, {whole, "GPU-2", 1, false},
		{whole, "", 1, false},
		{instance, "GPU-1", 1, true}, {instance, "MIG-1", 1, false},
		{unnamed, "", 1, true}, {unnamed, "", 0, false}, {unnamed, "GPU-1", 1, false},
	} {
		if got := c.d.Matches(c.uuid, c.index); got != c.want {
			t.Errorf("%+v matches %q, %d: %v", c.d, c.uuid, c.index, got)
		}
	}
}

// TestOwns checks whose processes count as those on a plan's devices.
func TestOwns(t *testing.T) {
	whole := plan.Device{UUID: "GPU-0"}
	instance := plan.Device{UUID: "MIG-1", ParentUUID: "GPU-0"}
	for _, c := range []struct {
		device plan.Device
		on     gpu.Device
		mig    string
		want   bool
	}{
		{whole, gpu.Device{UUID: "GPU-0"}, "", true},
		{whole, gpu.Device{UUID: "GPU-0"}, "MIG-1", true}, // all of the GPU is the worker's
		{whole, gpu.Device{UUID: "GPU-1"}, "", false},
		{instance, gpu.Device{UUID: "GPU-0"}, "MIG-1", true},
		{instance, gpu.Device{UUID: "GPU-0"}, "MIG-2", false},
		{instance, gpu.Device{UUID: "GPU-0"}, "", true}, // nobody knows on which instance
		{instance, gpu.Device{UUID: "GPU-1"}, "MIG-1", false},
	} {
		p := plan.Plan{Workers: []plan.Worker{{}, {Device: &c.device}}}
		if got := p.Owns(c.on, gpu.Process{MIG: c.mig}); got != c.want {
			t.Errorf("a plan for %+v owns a process on %s (%q): %v", c.device, c.on.UUID, c.mig,
				got)
		}
	}
}

func TestLabel(t *testing.T) {
	if got := (plan.Worker{Rank: 1}).Label(4711); got != "rank 1 (pid 4711)" {
		t.Errorf("%q", got)
	}
	w := plan.Worker{Rank: 1, Device: &plan.Device{Index: 2}}
	if got := w.Label(4711); got != "rank 1 (pid 4711, GPU 2)" {
		t.Errorf("%q", got)
	}
}

// TestDefaults checks what options mean that are not set.
func TestDefaults(t *testing.T) {
	p := plantest.Plan(t, plantest.TwoNodes("unset", 1, 0), plan.Options{})
	if p.Affinity.Mode != affinity.ModeNode || p.Visible != plan.VisibleOwn || p.Nodes != 1 ||
		p.Memory != affinity.MemoryNone || p.MasterAddr != "127.0.0.1" || !p.FreePort ||
		p.MasterPort != 0 || p.Mode != plan.ModeGPU || p.Reason != "NVML said so" {
		t.Errorf("%+v", p)
	}
	want := []string{`0 GPU-0 4-7,12-15 local=0 visible="0" omp=4`,
		`1 GPU-1 0-3,8-11 local=0 visible="1" omp=4`}
	if diff := cmp.Diff(want, describeWorkers(p)); diff != "" {
		t.Error(diff)
	}
	env := p.Workers[0].Env
	if _, set := env["MASTER_PORT"]; set || env["CUDA_DEVICE_ORDER"] != "PCI_BUS_ID" ||
		env["GPULAUNCH_NUMA_NODES"] != "1" {
		t.Errorf("%v", env)
	}
	one := plantest.Plan(t, plantest.TwoNodes("unset", 0, 1),
		plan.Options{Workers: plan.Workers(1)})
	if len(one.Workers) != 1 || one.Workers[0].Env["CUDA_VISIBLE_DEVICES"] != "0" {
		t.Errorf("%+v", one.Workers)
	}
	cpu := plantest.Plan(t, plantest.TwoNodes("unset"), plan.Options{Workers: plan.Workers(1)})
	if cpu.Mode != plan.ModeCPU || cpu.Reason != "there is no driver" ||
		cpu.Workers[0].Env["CUDA_DEVICE_ORDER"] != "" ||
		cpu.Workers[0].Env["GPULAUNCH_NUMA_NODES"] != "0,1" {
		t.Errorf("%+v", cpu)
	}
}

// TestWherePortsComeFrom checks who chooses the address and the port at which rank 0 listens.
func TestWherePortsComeFrom(t *testing.T) {
	for what, c := range map[string]struct {
		o    plan.Options
		addr string
		port int
		free bool
		env  string
	}{
		"one machine":             {plan.Options{}, "127.0.0.1", 0, true, ""},
		"one machine, an address": {plan.Options{MasterAddr: "host"}, "host", 0, true, ""},
		"one machine, a port":     {plan.Options{MasterPort: 7}, "127.0.0.1", 7, false, "7"},
		"two machines": {plan.Options{Nodes: 2, MasterAddr: "host"}, "host", 29500, false,
			"29500"},
		"two machines, a port": {plan.Options{Nodes: 2, MasterAddr: "host", MasterPort: 7}, "host",
			7, false, "7"},
	} {
		p := plantest.Plan(t, plantest.TwoNodes("unset", 0), c.o)
		env := p.Workers[0].Env
		if p.MasterAddr != c.addr || p.MasterPort != c.port || p.FreePort != c.free ||
			env["MASTER_ADDR"] != c.addr || env["MASTER_PORT"] != c.env {
			t.Errorf("%s: %s, %d, free %v, %q", what, p.MasterAddr, p.MasterPort, p.FreePort,
				env["MASTER_PORT"])
		}
	}
	_, err := plan.New(plantest.TwoNodes("unset", 0), plan.Options{Nodes: 2})
	if err == nil || !strings.Contains(err.Error(), "--nnodes=2 needs --master-addr") {
		t.Errorf("two machines without an address: %v", err)
	}
}

// TestThreadsOfACore checks that workers get the hardware threads that are asked for.
func TestThreadsOfACore(t *testing.T) {
	for threads, want := range map[affinity.Threads]string{"": "0-3,8-11",
		affinity.ThreadsAll: "0-3,8-11", affinity.ThreadsOnePerCore: "0-3"} {
		p := plantest.Plan(t, plantest.TwoNodes("unset", 0), plan.Options{Threads: threads})
		if got := p.Workers[0].CPUs.String(); got != want {
			t.Errorf("%q: CPUs %s, want %s", threads, got, want)
		}
	}
}

func TestNeedsTopology(t *testing.T) {
	none := affinity.Policy{Mode: affinity.ModeNone}
	for _, c := range []struct {
		o    plan.Options
		want bool
	}{
		{plan.Options{}, true}, // --affinity=node is the default
		{plan.Options{Affinity: none}, false},
		{plan.Options{Affinity: none, Memory: affinity.MemoryNone}, false},
		{plan.Options{Affinity: none, Memory: affinity.MemoryBind}, true},
		{plan.Options{Memory: affinity.MemoryNone}, true},
	} {
		if got := c.o.NeedsTopology(); got != c.want {
			t.Errorf("%+v needs a topology: %v", c.o, got)
		}
	}
}

func TestControlGroup(t *testing.T) {
	m := plantest.TwoNodes("unset", 0)
	m.Cgroup = plan.CgroupPlace{Parent: "/sys/fs/cgroup/x"}
	if p := plantest.Plan(t, m, plan.Options{}); p.Cgroup != m.Cgroup {
		t.Errorf("%+v", p.Cgroup)
	}
	p := plantest.Plan(t, m, plan.Options{NoCgroup: true})
	if p.Cgroup != (plan.CgroupPlace{Reason: "not wanted"}) {
		t.Errorf("%+v", p.Cgroup)
	}
}

// TestMachineStaysAsItIs checks that planning does not change the machine that it is given.
func TestMachineStaysAsItIs(t *testing.T) {
	for _, workers := range []plan.WorkerCount{plan.WorkersAuto, plan.WorkersCPU} {
		m := plantest.TwoNodes("unset", 0, 1)
		before := slices.Clone(m.Visible.Units)
		plantest.Plan(t, m, plan.Options{Workers: workers, DeviceID: plan.DeviceUUID})
		if diff := cmp.Diff(before, m.Visible.Units); diff != "" {
			t.Errorf("%s: %s", workers, diff)
		}
	}
}

// TestCPUWorkers checks how many workers without a GPU there are, and when they are a mistake.
func TestCPUWorkers(t *testing.T) {
	p := plantest.Plan(t, plantest.TwoNodes("unset", 0), plan.Options{
		Workers: plan.WorkersCPU.Fixed(3)})
	if len(p.Workers) != 3 || p.Mode != plan.ModeCPU {
		t.Errorf("%d workers, %s", len(p.Workers), p.Mode)
	}
	for _, value := range []string{"-1", " -1", "NoDevFiles", ""} {
		p := plantest.Plan(t, plantest.TwoNodes(value, 0), plan.Options{})
		if p.Mode != plan.ModeCPU || len(p.Workers) != 2 || len(p.Warnings) != 0 {
			t.Errorf("CUDA_VISIBLE_DEVICES=%q: %s, %d workers, %q", value, p.Mode, len(p.Workers),
				p.Warnings)
		}
	}
	// All GPUs are broken, which is an error only if the value names them.
	m := plantest.TwoNodes("unset", 0)
	m.Inventory.Devices[0].Problem = "it is lost"
	m.Visible = m.Inventory.Visible("", false)
	p, err := plan.New(m, plan.Options{})
	if err != nil || p.Mode != plan.ModeCPU {
		t.Errorf("all GPUs are broken: %s, %v", p.Mode, err)
	}
	m.Visible = m.Inventory.Visible("0", true)
	if err := ifError(plan.New(m, plan.Options{})); !strings.Contains(err, "it is lost") {
		t.Errorf("a GPU is named, and broken: %s", err)
	}
	if err := ifError(plan.ParseWorkerCount("99999999999999999999")); !strings.Contains(err,
		`"99999999999999999999" is not a number of workers`) {
		t.Error(err)
	}
}

func ifError[T any](_ T, err error) string {
	if err == nil {
		return "no error"
	}
	return err.Error()
}

// TestVisibleDevicesWarnings checks what a plan says of the value of CUDA_VISIBLE_DEVICES.
func TestVisibleDevicesWarnings(t *testing.T) {
	const counts = "counts GPUs, and CUDA may not count one that is broken"
	machine := func(value string, problem string) plan.Machine {
		m := plantest.TwoNodes("unset", 0, 1, 1)
		m.Inventory.Devices[2].Problem = problem
		m.Visible = m.Inventory.Visible(strings.TrimPrefix(value, "unset"), value != "unset")
		return m
	}
	for what, c := range map[string]struct {
		m    plan.Machine
		o    plan.Options
		want string
	}{
		"indexes next to a broken GPU": {machine("0", "lost"), plan.Options{}, counts},
		"indexes, all GPUs well":       {machine("0", ""), plan.Options{}, ""},
		"UUIDs next to a broken GPU":   {machine("GPU-0", "lost"), plan.Options{}, ""},
		"another kind of name is wanted": {machine("0", "lost"),
			plan.Options{DeviceID: plan.DeviceUUID}, ""},
		"an entry that names nothing": {machine("0,7", ""), plan.Options{},
			`CUDA_VISIBLE_DEVICES="0,7"`},
		"for workers without a GPU": {machine("0,7", "lost"),
			plan.Options{Workers: plan.WorkersCPU}, ""},
	} {
		all := strings.Join(plantest.Plan(t, c.m, c.o).Warnings, "\n")
		if !strings.Contains(all, c.want) || c.want == "" && all != "" {
			t.Errorf("%s: %q, want %q", what, all, c.want)
		}
	}
	named := plantest.Plan(t, machine("0", "lost"), plan.Options{DeviceID: plan.DeviceIndex})
	if len(named.Warnings) != 1 || !strings.HasPrefix(named.Warnings[0], "--device-id=index may") {
		t.Errorf("indexes are wanted: %q", named.Warnings)
	}
	unset := plantest.Plan(t, machine("unset", "lost"), plan.Options{})
	if all := strings.Join(unset.Warnings, "\n"); strings.Contains(all, counts) ||
		!strings.Contains(all, "GPU 2 (0000:03:00.0) is left out: lost") {
		t.Errorf("not set: %q", all)
	}
}

// TestUnfitGPUsAreListedOnce checks that each GPU that is left out is named, once for each reason.
func TestUnfitGPUsAreListedOnce(t *testing.T) {
	finding := []gpu.Finding{{Code: gpu.CodeECCUncorrected, Text: "bad memory", Remedy: "reset it"}}
	m := plantest.TwoNodes("unset", 0, 0, 1)
	m.Inventory.Devices[0].Findings, m.Inventory.Devices[1].Findings = finding, finding
	m.Visible = m.Inventory.Visible("", false)
	p := plantest.Plan(t, m, plan.Options{Health: plan.HealthSkip})
	want := []string{"GPU 0 (0000:01:00.0) is left out: bad memory; reset it",
		"GPU 1 (0000:02:00.0) is left out: bad memory; reset it"}
	if diff := cmp.Diff(want, p.Warnings); diff != "" {
		t.Errorf("two GPUs with one finding: %s", diff)
	}

	mig := plantest.TwoNodes("unset", 0, 1)
	d := &mig.Inventory.Devices[0]
	d.MIG, d.MIGInstances = true, []gpu.MIGInstance{{UUID: "MIG-1"}, {UUID: "MIG-2"}}
	d.Processes = []gpu.Process{{PID: 1, MIG: "MIG-1"}, {PID: 2, MIG: "MIG-2"}}
	mig.Visible = mig.Inventory.Visible("", false)
	p = plantest.Plan(t, mig, plan.Options{Busy: plan.BusySkip})
	all := strings.Join(p.Warnings, "\n")
	if len(p.Workers) != 1 || strings.Count(all, "is left out: in use in MIG-") != 2 {
		t.Errorf("two instances in use: %d workers, %q", len(p.Workers), all)
	}
	mig.Inventory.Devices[0].Processes = nil
	mig.Inventory.Devices[0].Findings = finding
	mig.Visible = mig.Inventory.Visible("", false)
	p = plantest.Plan(t, mig, plan.Options{Health: plan.HealthSkip})
	if len(p.Warnings) != 1 {
		t.Errorf("two instances of a GPU with a finding: %q", p.Warnings)
	}
}

// TestNoGPUNoHealth checks that a job without a GPU is not told what has no effect on GPUs.
func TestNoGPUNoHealth(t *testing.T) {
	o := plan.Options{Health: plan.HealthSkip, Busy: plan.BusySkip}
	if p := plantest.Plan(t, plantest.TwoNodes("unset"), o); len(p.Warnings) != 0 {
		t.Errorf("%q", p.Warnings)
	}
}

// TestOMPNumThreadsIsInherited checks the variables that a plan only proposes.
func TestOMPNumThreadsIsInherited(t *testing.T) {
	w := plantest.Plan(t, plantest.TwoNodes("unset", 0), plan.Options{}).Workers[0]
	for _, c := range []struct {
		inherited []string
		want      string
	}{
		{nil, "OMP_NUM_THREADS=4"}, {[]string{"OMP_NUM_THREADS=7"}, "OMP_NUM_THREADS=7"},
		{[]string{"OMP_NUM_THREADS="}, "OMP_NUM_THREADS=4"},
		{[]string{"XOMP_NUM_THREADS=7"}, "OMP_NUM_THREADS=4"},
	} {
		env := w.Environ(c.inherited, map[string]string{"RANK": "5"})
		if !slices.Contains(env, c.want) || !slices.Contains(env, "RANK=5") {
			t.Errorf("%q: want %s in %q", c.inherited, c.want, env)
		}
	}
}

// TestNICWarning checks that a worker whose GPU is near no RDMA device that works is named, and the
// others are not; and that the port of the right device is taken.
func TestNICWarning(t *testing.T) {
	m := plantest.TwoNodes("unset", 0, -1)
	m.NICs = []affinity.NIC{
		{Name: "mlx5_0", NUMANode: 1, Ports: []affinity.NICPort{{Number: 1, State: "ACTIVE"}}},
		{Name: "mlx5_1", NUMANode: 0, Ports: []affinity.NICPort{{Number: 2, State: "ACTIVE"}}},
	}
	p := plantest.Plan(t, m, plan.Options{NIC: plan.NICClosest})
	all := strings.Join(p.Warnings, "\n")
	if strings.Count(all, "--nic=closest has no effect for") != 1 ||
		!strings.Contains(all, "for GPU 1 (0000:02:00.0): no RDMA device") {
		t.Errorf("%q", all)
	}
	if got := p.Workers[0].Env["UCX_NET_DEVICES"]; got != "mlx5_1:2" {
		t.Errorf("UCX_NET_DEVICES is %q", got)
	}
}

// TestMemoryWarnings checks that a warning that concerns several workers comes once, and that none
// comes without a reason.
func TestMemoryWarnings(t *testing.T) {
	m := plantest.TwoNodes("unset", 0, 0)
	o := plan.Options{Memory: affinity.MemoryBind}
	p := plantest.Plan(t, m, o)
	if len(p.Warnings) != 1 || !strings.Contains(p.Warnings[0], "no NUMA node is known to have") {
		t.Errorf("without memory: %q", p.Warnings)
	}
	for i := range m.Topology.Nodes {
		m.Topology.Nodes[i].MemoryBytes = 1 << 30
	}
	if p := plantest.Plan(t, m, o); len(p.Warnings) != 0 {
		t.Errorf("with memory: %q", p.Warnings)
	}
}
