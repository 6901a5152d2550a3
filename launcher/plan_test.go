package launcher

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/gpulaunch/gpulaunch/affinity"
	"github.com/gpulaunch/gpulaunch/gpu"
)

// twoNodes is a machine with two NUMA nodes of four cores with two threads each,
// GPUs at the given nodes, and CUDA_VISIBLE_DEVICES as given ("unset": not set).
func twoNodes(visible string, gpuNodes ...int) Machine {
	t := &affinity.Topology{
		Nodes: []affinity.Node{{ID: 0, CPUs: affinity.CPUs(0, 1, 2, 3, 8, 9, 10, 11)}, {ID: 1, CPUs: affinity.CPUs(4, 5, 6, 7, 12, 13, 14, 15)}},
	}
	for i := range 8 {
		core := affinity.CPUs(i, i+8)
		t.Cores = append(t.Cores, affinity.Core{ID: i, Package: i / 4, CPUs: core})
		t.Online = t.Online.Union(core)
	}
	t.Allowed = t.Online
	t.Packages = []affinity.Package{{ID: 0, CPUs: t.Nodes[0].CPUs}, {ID: 1, CPUs: t.Nodes[1].CPUs}}
	m := Machine{Topology: t, Inventory: gpu.Inventory{Source: gpu.SourceNone, Reason: "there is no driver"}, Localities: map[int]affinity.Locality{}}
	for i, node := range gpuNodes {
		m.Inventory.Source, m.Inventory.Reason = gpu.SourceNVML, "NVML said so"
		d := gpu.Device{Index: i, UUID: fmt.Sprintf("GPU-%d", i), Name: "Card", PCIBusID: fmt.Sprintf("0000:%02x:00.0", i+1), MemoryTotalBytes: 1 << 30}
		m.Inventory.Devices = append(m.Inventory.Devices, d)
		m.Localities[d.Index] = affinity.Locality{Name: fmt.Sprintf("GPU %d (%s)", i, d.PCIBusID), NUMANode: node}
	}
	m.Visible = m.Inventory.Visible(strings.TrimPrefix(visible, "unset"), visible != "unset")
	return m
}

func options() Options {
	return Options{Workers: CountAuto, Nodes: 1, MasterAddr: "127.0.0.1", MasterPort: 29500, Affinity: affinity.Policy{Mode: affinity.ModeNode}, Visible: VisibleOwn, RunID: "r"}
}

// brief is a plan's workers in one line each: device, CPUs, LOCAL_RANK and what
// CUDA shows.
func brief(p Plan) (list []string) {
	for _, w := range p.Workers {
		device := "-"
		if w.Device != nil {
			device = w.Device.UUID
		}
		list = append(list, fmt.Sprintf("%d %s %s local=%s visible=%q omp=%s", w.Rank, device, w.CPUs, w.Env["LOCAL_RANK"], w.Env["CUDA_VISIBLE_DEVICES"], w.Env["OMP_NUM_THREADS"]))
	}
	return list
}

func TestPlan(t *testing.T) {
	for name, c := range map[string]struct {
		machine Machine
		change  func(*Options)
		want    []string
	}{
		"one worker per GPU, near it": {twoNodes("unset", 0, 1), nil, []string{
			`0 GPU-0 0-3,8-11 local=0 visible="0" omp=4`, `1 GPU-1 4-7,12-15 local=0 visible="1" omp=4`}},
		"shared cores are divided for OMP": {twoNodes("unset", 0, 0, 0), nil, []string{
			`0 GPU-0 0-3,8-11 local=0 visible="0" omp=1`, `1 GPU-1 0-3,8-11 local=0 visible="1" omp=1`, `2 GPU-2 0-3,8-11 local=0 visible="2" omp=1`}},
		"exclusive": {twoNodes("unset", 0, 0), func(o *Options) { o.Affinity.Mode = affinity.ModeExclusive }, []string{
			`0 GPU-0 0-1,8-9 local=0 visible="0" omp=2`, `1 GPU-1 2-3,10-11 local=0 visible="1" omp=2`}},
		"none": {twoNodes("unset", 0), func(o *Options) { o.Affinity.Mode = affinity.ModeNone }, []string{
			`0 GPU-0 0-15 local=0 visible="0" omp=8`}},
		"unknown place is not node 0": {twoNodes("unset", -1), nil, []string{`0 GPU-0 0-15 local=0 visible="0" omp=8`}},
		"fewer workers than GPUs":     {twoNodes("unset", 0, 1), func(o *Options) { o.Workers = CountOf(1) }, []string{`0 GPU-0 0-3,8-11 local=0 visible="0" omp=4`}},
		"oversubscribe": {twoNodes("unset", 0, 1), func(o *Options) { o.Workers, o.Oversubscribe = CountOf(3), true }, []string{
			`0 GPU-0 0-3,8-11 local=0 visible="0" omp=2`, `1 GPU-1 4-7,12-15 local=0 visible="1" omp=4`, `2 GPU-0 0-3,8-11 local=0 visible="0" omp=2`}},
		"visible all": {twoNodes("unset", 0, 1), func(o *Options) { o.Visible = VisibleAll }, []string{
			`0 GPU-0 0-3,8-11 local=0 visible="0,1" omp=4`, `1 GPU-1 4-7,12-15 local=1 visible="0,1" omp=4`}},
		"visible all of more GPUs than workers": {twoNodes("unset", 0, 1), func(o *Options) { o.Visible, o.Workers = VisibleAll, CountOf(1) }, []string{
			`0 GPU-0 0-3,8-11 local=0 visible="0,1" omp=4`}},
		"the universe is not renumbered": {twoNodes("1,0", 0, 1), nil, []string{
			`0 GPU-1 4-7,12-15 local=0 visible="1" omp=4`, `1 GPU-0 0-3,8-11 local=0 visible="0" omp=4`}},
		"no GPU: a worker per node": {twoNodes("unset"), nil, []string{
			`0 - 0-3,8-11 local=0 visible="" omp=4`, `1 - 4-7,12-15 local=1 visible="" omp=4`}},
		"no GPU is visible": {twoNodes("", 0, 1), nil, []string{
			`0 - 0-3,8-11 local=0 visible="" omp=4`, `1 - 4-7,12-15 local=1 visible="" omp=4`}},
		"Slurm's way of saying none": {twoNodes("NoDevFiles", 0), func(o *Options) { o.Workers = CountOf(1) }, []string{`0 - 0-15 local=0 visible="" omp=8`}},
		"no GPU, a number":           {twoNodes("unset"), func(o *Options) { o.Workers = CountOf(1) }, []string{`0 - 0-15 local=0 visible="" omp=8`}},
		"OMP_NUM_THREADS is the user's": {twoNodes("unset", 0), func(o *Options) { o.Inherited = Inherit([]string{"OMP_NUM_THREADS=3", "SECRET=x"}) }, []string{
			`0 GPU-0 0-3,8-11 local=0 visible="0" omp=`}},
		"the second of two machines": {twoNodes("unset", 0, 1), func(o *Options) { o.Nodes, o.NodeRank = 2, 1 }, []string{
			`2 GPU-0 0-3,8-11 local=0 visible="0" omp=4`, `3 GPU-1 4-7,12-15 local=0 visible="1" omp=4`}},
	} {
		o := options()
		if c.change != nil {
			c.change(&o)
		}
		p, err := NewPlan(c.machine, o)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if diff := cmp.Diff(c.want, brief(p)); diff != "" {
			t.Errorf("%s:\n%s", name, diff)
		}
	}
}

func TestPlanCPUCount(t *testing.T) {
	o := options()
	o.Workers = CountCPU
	p, err := NewPlan(twoNodes("unset", 0), o)
	if err != nil || len(p.Workers) != 16 || p.Mode != ModeCPU || p.Workers[0].Device != nil {
		t.Errorf("%v, %d workers, mode %s", err, len(p.Workers), p.Mode)
	}
}

func TestPlanErrors(t *testing.T) {
	lost := twoNodes("unset", 0, 1)
	lost.Inventory.Devices[1].Problem = "it is lost"
	lost.Visible = lost.Inventory.Visible("", false)
	mig := twoNodes("unset", 0)
	mig.Inventory.Devices[0].MIG = true
	mig.Inventory.Devices[0].MIGInstances = []gpu.MIGInstance{{UUID: "MIG-1"}, {UUID: "MIG-2"}}
	mig.Visible = mig.Inventory.Visible("", false)
	for want, c := range map[string]struct {
		machine Machine
		change  func(*Options)
	}{
		"9 workers were asked for, but there are 2 GPUs":                 {twoNodes("unset", 0, 1), func(o *Options) { o.Workers = CountOf(9) }},
		"there is 1 GPU usable, GPU 1":                                   {lost, func(o *Options) { o.Workers = CountOf(2) }},
		"--require-gpu is set, but no GPU is usable: there is no driver": {twoNodes("unset"), func(o *Options) { o.RequireGPU = true }},
		"--nproc-per-node=gpu is set":                                    {twoNodes("unset"), func(o *Options) { o.Workers = CountGPU }},
		"contradicts":                                                    {twoNodes("unset", 0), func(o *Options) { o.RequireGPU, o.Workers = true, CountCPU }},
		"CUDA_VISIBLE_DEVICES=\"7\"":                                     {twoNodes("7", 0), nil},
		"CUDA_VISIBLE_DEVICES=\"0,0\"":                                   {twoNodes("0,0", 0), nil},
		"--nnodes is -1":                                                 {twoNodes("unset"), func(o *Options) { o.Nodes = -1 }},
		"--master-port is -1":                                            {twoNodes("unset"), func(o *Options) { o.MasterPort = -1 }},
		"--visible=all cannot work with more workers (3) than GPUs (2)":  {twoNodes("unset", 0, 1), func(o *Options) { o.Workers, o.Visible, o.Oversubscribe = CountOf(3), VisibleAll, true }},
		"--visible=all cannot work with MIG":                             {mig, func(o *Options) { o.Visible = VisibleAll }},
	} {
		o := options()
		if c.change != nil {
			c.change(&o)
		}
		if _, err := NewPlan(c.machine, o); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("want %q, got %v", want, err)
		}
	}
	// A value that names only broken GPUs: the reason is theirs.
	lost.Visible = lost.Inventory.Visible("1", true)
	if _, err := NewPlan(lost, options()); err == nil || !strings.HasPrefix(err.Error(), "GPU 1 (0000:02:00.0) is not usable: it is lost; to run on CPUs") {
		t.Error(err)
	}
	lost.Visible = lost.Inventory.Visible("", false)
	// A broken GPU does not keep the healthy one from being used, by its UUID.
	p, err := NewPlan(lost, options())
	if err != nil || len(p.Workers) != 1 || p.Workers[0].Env["CUDA_VISIBLE_DEVICES"] != "GPU-0" || len(p.Warnings) != 1 {
		t.Errorf("%v %+v", err, p)
	}
	p, err = NewPlan(mig, options())
	if err != nil || len(p.Workers) != 2 || p.Workers[1].Env["CUDA_VISIBLE_DEVICES"] != "MIG-2" || p.Workers[1].Device.ParentUUID != "GPU-0" {
		t.Errorf("%v %+v", err, p)
	}
}

// TestPlanIsPure: the same arguments give the same plan, which survives JSON.
func TestPlanIsPure(t *testing.T) {
	m := twoNodes("unset", 0, 1, 1)
	p, err := NewPlan(m, options())
	if err != nil {
		t.Fatal(err)
	}
	again, err := NewPlan(m, options())
	if err != nil {
		t.Fatal(err)
	}
	data, err := json.Marshal(p)
	if err != nil {
		t.Fatal(err)
	}
	var read Plan
	if err := json.Unmarshal(data, &read); err != nil {
		t.Fatal(err)
	}
	for _, other := range []Plan{again, read} {
		if diff := cmp.Diff(p, other); diff != "" {
			t.Error(diff)
		}
	}
}

func TestWorkerEnviron(t *testing.T) {
	got := workerEnviron([]string{"PATH=/bin", "RANK=9", "GPULAUNCH_GPU_UUID=outer", "A=b=c"},
		map[string]string{"RANK": "1", "MASTER_PORT": "1"}, map[string]string{"MASTER_PORT": "2"})
	if diff := cmp.Diff([]string{"PATH=/bin", "A=b=c", "MASTER_PORT=2", "RANK=1"}, got); diff != "" {
		t.Error(diff)
	}
}
