package plan_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/gpulaunch/gpulaunch/launcher/plan"
	"github.com/gpulaunch/gpulaunch/launcher/plan/plantest"

	"github.com/google/go-cmp/cmp"

	"github.com/gpulaunch/gpulaunch/affinity"
	"github.com/gpulaunch/gpulaunch/gpu"
)

// describeWorkers returns a line for each worker: its device, CPUs, LOCAL_RANK and
// CUDA_VISIBLE_DEVICES.
func describeWorkers(p plan.Plan) (list []string) {
	for _, w := range p.Workers {
		device := "-"
		if w.Device != nil {
			device = w.Device.UUID
		}
		list = append(list, fmt.Sprintf("%d %s %s local=%s visible=%q omp=%s", w.Rank, device,
			w.CPUs, w.Env["LOCAL_RANK"], w.Env["CUDA_VISIBLE_DEVICES"], w.Env["OMP_NUM_THREADS"]))
	}
	return list
}

func TestPlan(t *testing.T) {
	for name, c := range map[string]struct {
		machine plan.Machine
		change  func(*plan.Options)
		want    []string
	}{
		"one worker per GPU, near it": {plantest.TwoNodes("unset", 0, 1), nil, []string{
			`0 GPU-0 0-3,8-11 local=0 visible="0" omp=4`,
			`1 GPU-1 4-7,12-15 local=0 visible="1" omp=4`}},
		"shared cores are divided for OMP": {plantest.TwoNodes("unset", 0, 0, 0), nil, []string{
			`0 GPU-0 0-3,8-11 local=0 visible="0" omp=1`,
			`1 GPU-1 0-3,8-11 local=0 visible="1" omp=1`,
			`2 GPU-2 0-3,8-11 local=0 visible="2" omp=1`}},
		"exclusive": {plantest.TwoNodes("unset", 0, 0),
			func(o *plan.Options) { o.Affinity.Mode = affinity.ModeExclusive }, []string{
				`0 GPU-0 0-1,8-9 local=0 visible="0" omp=2`,
				`1 GPU-1 2-3,10-11 local=0 visible="1" omp=2`}},
		"none": {plantest.TwoNodes("unset", 0),
			func(o *plan.Options) { o.Affinity.Mode = affinity.ModeNone }, []string{
				`0 GPU-0 0-15 local=0 visible="0" omp=8`}},
		"unknown place is not node 0": {plantest.TwoNodes("unset", -1), nil,
			[]string{`0 GPU-0 0-15 local=0 visible="0" omp=8`}},
		"fewer workers than GPUs": {plantest.TwoNodes("unset", 0, 1), func(o *plan.Options) {
			o.Workers = plan.Workers(1)
		}, []string{`0 GPU-0 0-3,8-11 local=0 visible="0" omp=4`}},
		"oversubscribe": {plantest.TwoNodes("unset", 0, 1),
			func(o *plan.Options) { o.Workers, o.Oversubscribe = plan.Workers(3), true }, []string{
				`0 GPU-0 0-3,8-11 local=0 visible="0" omp=2`,
				`1 GPU-1 4-7,12-15 local=0 visible="1" omp=4`,
				`2 GPU-0 0-3,8-11 local=0 visible="0" omp=2`}},
		"visible all": {plantest.TwoNodes("unset", 0, 1),
			func(o *plan.Options) { o.Visible = plan.VisibleAll }, []string{
				`0 GPU-0 0-3,8-11 local=0 visible="0,1" omp=4`,
				`1 GPU-1 4-7,12-15 local=1 visible="0,1" omp=4`}},
		"visible all of more GPUs than workers": {plantest.TwoNodes("unset", 0, 1),
			func(o *plan.Options) {
				o.Visible, o.Workers = plan.VisibleAll, plan.Workers(1)
			}, []string{
				`0 GPU-0 0-3,8-11 local=0 visible="0,1" omp=4`}},
		"GPUs keep the user's names for them": {plantest.TwoNodes("1,0", 0, 1), nil, []string{
			`0 GPU-1 4-7,12-15 local=0 visible="1" omp=4`,
			`1 GPU-0 0-3,8-11 local=0 visible="0" omp=4`}},
		"no GPU: a worker per node": {plantest.TwoNodes("unset"), nil, []string{
			`0 - 0-3,8-11 local=0 visible="" omp=4`, `1 - 4-7,12-15 local=1 visible="" omp=4`}},
		"no GPU is visible": {plantest.TwoNodes("", 0, 1), nil, []string{
			`0 - 0-3,8-11 local=0 visible="" omp=4`, `1 - 4-7,12-15 local=1 visible="" omp=4`}},
		"Slurm's way of saying none": {plantest.TwoNodes("NoDevFiles", 0), func(o *plan.Options) {
			o.Workers = plan.Workers(1)
		}, []string{`0 - 0-15 local=0 visible="" omp=8`}},
		"no GPU, a number": {plantest.TwoNodes("unset"), func(o *plan.Options) {
			o.Workers = plan.Workers(1)
		}, []string{`0 - 0-15 local=0 visible="" omp=8`}},
		"OMP_NUM_THREADS is the user's": {plantest.TwoNodes("unset", 0), func(o *plan.Options) {
			o.Environ = []string{"OMP_NUM_THREADS=3", "SECRET=x"}
		}, []string{
			`0 GPU-0 0-3,8-11 local=0 visible="0" omp=`}},
		"the second of two machines": {plantest.TwoNodes("unset", 0, 1),
			func(o *plan.Options) { o.Nodes, o.NodeRank = 2, 1 }, []string{
				`2 GPU-0 0-3,8-11 local=0 visible="0" omp=4`,
				`3 GPU-1 4-7,12-15 local=0 visible="1" omp=4`}},
	} {
		o := plantest.Options()
		if c.change != nil {
			c.change(&o)
		}
		p, err := plan.New(c.machine, o)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if diff := cmp.Diff(c.want, describeWorkers(p)); diff != "" {
			t.Errorf("%s:\n%s", name, diff)
		}
	}
}

func TestPlanCPUCount(t *testing.T) {
	o := plantest.Options()
	o.Workers = plan.WorkersCPU
	p, err := plan.New(plantest.TwoNodes("unset", 0), o)
	if err != nil || len(p.Workers) != 16 || p.Mode != plan.ModeCPU || p.Workers[0].Device != nil {
		t.Errorf("%v, %d workers, mode %s", err, len(p.Workers), p.Mode)
	}
}

func TestPlanErrors(t *testing.T) {
	lost := plantest.TwoNodes("unset", 0, 1)
	lost.Inventory.Devices[1].Problem = "it is lost"
	lost.Visible = lost.Inventory.Visible("", false)
	mig := plantest.TwoNodes("unset", 0)
	mig.Inventory.Devices[0].MIG = true
	mig.Inventory.Devices[0].MIGInstances = []gpu.MIGInstance{{UUID: "MIG-1"}, {UUID: "MIG-2"}}
	mig.Visible = mig.Inventory.Visible("", false)
	for want, c := range map[string]struct {
		machine plan.Machine
		change  func(*plan.Options)
	}{
		"9 workers were asked for, but there are 2 GPUs": {plantest.TwoNodes("unset", 0, 1),
			func(o *plan.Options) {
				o.Workers = plan.Workers(9)
			}},
		"there is 1 GPU usable, GPU 1": {lost,
			func(o *plan.Options) { o.Workers = plan.Workers(2) }},
		"--require-gpu is set, but no GPU is usable: there is no " +
			"driver": {plantest.TwoNodes("unset"), func(o *plan.Options) {
			o.RequireGPU = true
		}},
		"--nproc-per-node=gpu is set": {plantest.TwoNodes("unset"),
			func(o *plan.Options) { o.Workers = plan.WorkersGPU }},
		"contradicts": {plantest.TwoNodes("unset", 0),
			func(o *plan.Options) { o.RequireGPU, o.Workers = true, plan.WorkersCPU }},
		"CUDA_VISIBLE_DEVICES=\"7\"": {plantest.TwoNodes("7", 0), nil},
		`CUDA_VISIBLE_DEVICES="GPU-8d2f" names a GPU, but none is found: there is no driver; to ` +
			"run on CPUs nevertheless use --nproc-per-node=cpu": {plantest.TwoNodes("GPU-8d2f"), nil},
		`CUDA_VISIBLE_DEVICES="MIG-8d2f" names`: {plantest.TwoNodes("MIG-8d2f"), nil},
		"CUDA_VISIBLE_DEVICES=\"0,0\"":          {plantest.TwoNodes("0,0", 0), nil},
		"--nnodes is -1": {plantest.TwoNodes("unset"),
			func(o *plan.Options) { o.Nodes = -1 }},
		"--master-port is -1": {plantest.TwoNodes("unset"),
			func(o *plan.Options) { o.MasterPort = -1 }},
		"--visible=all cannot work with more workers (3) than GPUs (2)": {plantest.TwoNodes("unset",
			0, 1), func(o *plan.Options) {
			o.Workers, o.Visible, o.Oversubscribe = plan.Workers(3), plan.VisibleAll, true
		}},
		"--visible=all cannot work with MIG": {mig,
			func(o *plan.Options) { o.Visible = plan.VisibleAll }},
	} {
		o := plantest.Options()
		if c.change != nil {
			c.change(&o)
		}
		if _, err := plan.New(c.machine, o); err == nil || !strings.Contains(err.Error(), want) ||
			strings.Contains(err.Error(), "\n") {
			t.Errorf("want %q, got %v", want, err)
		}
	}
	// If the value names only broken GPUs, the error says what is wrong with them.
	lost.Visible = lost.Inventory.Visible("1", true)
	if _, err := plan.New(lost, plantest.Options()); err == nil || !strings.HasPrefix(err.Error(),
		"GPU 1 (0000:02:00.0) is not usable: it is lost; to run on CPUs") {
		t.Error(err)
	}
	// So does one that names all GPUs, when all are broken.
	broken := plantest.TwoNodes("0", 0)
	broken.Inventory.Devices[0].Problem = "it is lost"
	broken.Visible = broken.Inventory.Visible("0", true)
	if _, err := plan.New(broken, plantest.Options()); err == nil || !strings.HasPrefix(err.Error(),
		"GPU 0 (0000:01:00.0) is not usable: it is lost; to run on CPUs") {
		t.Error(err)
	}
	broken.Visible = broken.Inventory.Visible("", false) // the user has named nothing
	if p, err := plan.New(broken, plantest.Options()); err != nil || p.Mode != plan.ModeCPU {
		t.Errorf("%v %+v", err, p)
	}
	lost.Visible = lost.Inventory.Visible("", false)
	// A broken GPU does not keep the healthy one from being used, by its UUID.
	p, err := plan.New(lost, plantest.Options())
	if err != nil || len(p.Workers) != 1 || p.Workers[0].Env["CUDA_VISIBLE_DEVICES"] != "GPU-0" ||
		len(p.Warnings) != 1 {
		t.Errorf("%v %+v", err, p)
	}
	p, err = plan.New(mig, plantest.Options())
	if err != nil || len(p.Workers) != 2 || p.Workers[1].Env["CUDA_VISIBLE_DEVICES"] != "MIG-2" ||
		p.Workers[1].Device.ParentUUID != "GPU-0" {
		t.Errorf("%v %+v", err, p)
	}
}

// TestPlanIsPure checks that the same arguments give the same plan, and that a plan survives JSON.
func TestPlanIsPure(t *testing.T) {
	m := plantest.TwoNodes("unset", 0, 1, 1)
	p, again := plantest.Plan(t, m, plantest.Options()), plantest.Plan(t, m, plantest.Options())
	data, err := json.Marshal(p)
	if err != nil {
		t.Fatal(err)
	}
	var read plan.Plan
	if err := json.Unmarshal(data, &read); err != nil {
		t.Fatal(err)
	}
	for _, other := range []plan.Plan{again, read} {
		if diff := cmp.Diff(p, other); diff != "" {
			t.Error(diff)
		}
	}
}

func TestWorkerEnviron(t *testing.T) {
	got := plan.MergeEnviron([]string{"PATH=/bin", "RANK=9", "GPULAUNCH_GPU_UUID=outer", "A=b=c"},
		map[string]string{"RANK": "1", "MASTER_PORT": "1"}, map[string]string{"MASTER_PORT": "2"})
	if diff := cmp.Diff([]string{"PATH=/bin", "A=b=c", "MASTER_PORT=2", "RANK=1"},
		got); diff != "" {
		t.Error(diff)
	}
}

// TestWorkerVariables compares the list with what workers get.
func TestWorkerVariables(t *testing.T) {
	var got []string
	for name := range plantest.Plan(t, plantest.TwoNodes("unset", 0), plantest.Options()).
		Workers[0].Env {
		if strings.HasPrefix(name, "GPULAUNCH_") {
			got = append(got, name)
		}
	}
	slices.Sort(got)
	want := plan.WorkerVariables()
	slices.Sort(want)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-list +worker:\n%s", diff)
	}
}

// TestMasksWithoutGPUs has values of CUDA_VISIBLE_DEVICES that environments have on all machines.
func TestMasksWithoutGPUs(t *testing.T) {
	for _, mask := range []string{"unset", "", "-1", "NoDevFiles", "0", "0,1,2,3"} {
		p := plantest.Plan(t, plantest.TwoNodes(mask), plantest.Options())
		if p.Mode != plan.ModeCPU || p.Reason != "there is no driver" {
			t.Errorf("%q: %s, %s", mask, p.Mode, p.Reason)
		}
	}
	o := plantest.Options()
	o.Workers = plan.WorkersCPU // which is what the error says
	if p := plantest.Plan(t, plantest.TwoNodes("GPU-8d2f"), o); p.Mode != plan.ModeCPU {
		t.Errorf("%s, %s", p.Mode, p.Reason)
	}
}

// TestDoubts checks that doubts about CUDA_VISIBLE_DEVICES are warnings, unless no GPU is asked for.
func TestDoubts(t *testing.T) {
	m := plantest.TwoNodes("1 0", 0, 1)
	p := plantest.Plan(t, m, plantest.Options())
	if len(p.Warnings) != 1 || !strings.Contains(p.Warnings[0], `reads "1 0" as 1`) {
		t.Errorf("%q", p.Warnings)
	}
	o := plantest.Options()
	o.Workers = plan.WorkersCPU
	if p := plantest.Plan(t, m, o); len(p.Warnings) != 0 {
		t.Errorf("%q", p.Warnings)
	}
}

// TestIntegratedGPU checks that one worker gets the GPU of a Jetson, with the inherited
// CUDA_VISIBLE_DEVICES.
func TestIntegratedGPU(t *testing.T) {
	m := plantest.TwoNodes("unset")
	m.Inventory = gpu.Inventory{Source: gpu.SourceIntegrated, Reason: "integrated",
		Devices: []gpu.Device{{Name: "NVIDIA Jetson", Integrated: true}}}
	m.Visible = m.Inventory.Visible("", false)
	for _, by := range []plan.DeviceID{"", plan.DeviceIndex, plan.DeviceUUID} {
		for _, workers := range []int{1, 2} {
			o := plantest.Options()
			o.DeviceID, o.Oversubscribe = by, workers > 1
			if workers > 1 {
				o.Workers = plan.Workers(workers)
			}
			p := plantest.Plan(t, m, o)
			if p.Mode != plan.ModeGPU || p.Reason != "integrated" || len(p.Workers) != workers {
				t.Errorf("%q: %+v", by, p)
			}
			for _, w := range p.Workers {
				_, mask := w.Env["CUDA_VISIBLE_DEVICES"]
				_, order := w.Env["CUDA_DEVICE_ORDER"]
				if mask || order || w.Env["LOCAL_RANK"] != "0" || w.Device == nil {
					t.Errorf("%q: %v", by, w.Env)
				}
				for _, inherited := range []string{"CUDA_VISIBLE_DEVICES=0", "PATH=/bin"} {
					env := w.Environ([]string{inherited}, nil)
					if env[0] != inherited || slices.ContainsFunc(env[1:], func(s string) bool {
						return strings.HasPrefix(s, "CUDA_")
					}) {
						t.Errorf("%q: %q", by, env)
					}
				}
			}
		}
	}
	m.Visible = m.Inventory.Visible("", true) // the user hides it
	p := plantest.Plan(t, m, plantest.Options())
	if p.Mode != plan.ModeCPU || p.Workers[0].Env["CUDA_VISIBLE_DEVICES"] != "" {
		t.Errorf("%+v", p)
	}
}

// TestNamedByTheUser checks that a job does not run on CPUs, or on other GPUs, because of something
// that the user named and that does not work.
func TestNamedByTheUser(t *testing.T) {
	library := plantest.TwoNodes("unset")
	library.Inventory.LibraryProblem = "cannot open the NVML library: no such file: /x"
	driver := plantest.TwoNodes("unset", 0, 1)
	driver.Inventory.Source = gpu.SourceDriver
	driver.Inventory.LibraryProblem = library.Inventory.LibraryProblem
	lost := plantest.TwoNodes("unset", 0)
	lost.Inventory.Devices[0].Problem = "it is lost"
	lost.Visible = lost.Inventory.Visible("0", true)
	for want, m := range map[string]plan.Machine{
		"--nvml-library names a library that cannot be used: cannot open":         library,
		"cannot be used: cannot open the NVML library: no such file: /x; correct": driver,
		"GPU 0 (0000:01:00.0) is not usable: it is lost; to run on CPUs":          lost,
	} {
		if _, err := plan.New(m, plantest.Options()); err == nil ||
			!strings.Contains(err.Error(), want) {
			t.Errorf("want %q, got %v", want, err)
		}
		o := plantest.Options()
		o.Workers = plan.WorkersCPU
		if _, err := plan.New(m, o); err != nil {
			t.Errorf("on CPUs: %v", err)
		}
	}
	lost.Visible = lost.Inventory.Visible("", false) // not named
	if p, err := plan.New(lost, plantest.Options()); err != nil || p.Mode != plan.ModeCPU {
		t.Errorf("%v %+v", err, p)
	}
}
