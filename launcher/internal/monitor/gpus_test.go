package monitor

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/gpulaunch/gpulaunch/gpu"
	"github.com/gpulaunch/gpulaunch/launcher/plan"
	"github.com/gpulaunch/gpulaunch/launcher/report"
)

// scriptedGPUs answer each query with the next entry, and the last one for ever.
type scriptedGPUs struct {
	silentGPUs
	script []func(context.Context) (gpu.Sample, error)
}

func (g *scriptedGPUs) Sample(ctx context.Context) (gpu.Sample, error) {
	next := g.script[0]
	if len(g.script) > 1 {
		g.script = g.script[1:]
	}
	return next(ctx)
}

func (*scriptedGPUs) Subscribe(func(gpu.Event), func(string)) {}

// reports answers with samples of the GPUs, given as "GPU-0", or as "GPU-0: problem".
func reports(devices ...gpu.DeviceSample) func(context.Context) (gpu.Sample, error) {
	return func(context.Context) (gpu.Sample, error) { return gpu.Sample{Devices: devices}, nil }
}

func of(index int, problem string) gpu.DeviceSample {
	return gpu.DeviceSample{Index: index, UUID: fmt.Sprint("GPU-", index), Problem: problem}
}

func hangs(call string) func(context.Context) (gpu.Sample, error) {
	return func(ctx context.Context) (gpu.Sample, error) {
		<-ctx.Done()
		if call == "" {
			return gpu.Sample{}, ctx.Err()
		}
		return gpu.Sample{}, fmt.Errorf("no answer: %w", &gpu.HangError{Call: call,
			For: sampleLimit, Err: ctx.Err()})
	}
}

func fails(context.Context) (gpu.Sample, error) {
	return gpu.Sample{}, errors.New("the GPU probe died")
}

// monitored runs a job of two GPUs whose queries are answered by a script, and returns what it has
// logged after a time.
func monitored(t *testing.T, change func(*Monitor), d time.Duration,
	script ...func(context.Context) (gpu.Sample, error)) (logged []string) {
	synctest.Test(t, func(*testing.T) {
		m, lines, _ := newTestMonitor()
		m.GPUs = &scriptedGPUs{script: script}
		m.Observer.GPUsSilent, m.Observer.GPUsSampled = func(string) {}, func(gpu.Sample) {}
		if change != nil {
			change(m)
		}
		m.Start()
		<-time.After(d)
		m.Close()
		logged = lines()
	})
	return logged
}

// TestHangingNVML checks that a hang is told once, with the call and for how long, and its end.
func TestHangingNVML(t *testing.T) {
	const unknown = "; whether GPUs are lost, and their figures, are unknown until it answers"
	well, cpu := reports(of(0, ""), of(1, "")), func(m *Monitor) { m.planned.Mode = plan.ModeCPU }
	type script = []func(context.Context) (gpu.Sample, error)
	for name, c := range map[string]struct {
		script script
		change func(*Monitor)
		want   []string
	}{
		"works": {script{well}, nil, nil},
		"hangs": {script{well, hangs("nvmlDeviceGetUUID"), fails, hangs("nvmlInit"), well}, nil,
			[]string{"NVML has not returned from nvmlDeviceGetUUID for 3s" + unknown,
				"NVML answers again, after 21s"}},
		"hangs, nobody knows where": {script{hangs(""), hangs("")}, nil,
			[]string{"NVML has not answered for 3s" + unknown}},
		"dies once": {script{well, fails, well}, nil, nil},
		"dies twice": {script{well, fails, fails, well}, nil, []string{
			"NVML does not work (the GPU probe died)" + unknown, "NVML answers again, after 10s"}},
		"the job has no GPU": {script{hangs("nvmlInit"), fails, well}, cpu, nil},
	} {
		t.Run(name, func(t *testing.T) {
			got := monitored(t, c.change, time.Minute, c.script...)
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
	// A query that is given up because the job has ended is not a hang.
	if got := monitored(t, nil, time.Second, hangs("nvmlInit")); got != nil {
		t.Errorf("%q", got)
	}
}

// TestLosses checks that a GPU of the job that is lost is told once, and that it works again.
func TestLosses(t *testing.T) {
	const code = "GPU is lost (code 15)"
	shared := func(m *Monitor) {
		d := &plan.Device{Index: 1, UUID: "GPU-1"}
		m.planned.Workers = []plan.Worker{{Device: d}, {Rank: 1, Device: d}}
	}
	instances := func(m *Monitor) {
		m.planned.Workers = []plan.Worker{
			{Device: &plan.Device{UUID: "MIG-0", ParentUUID: "GPU-0"}},
			{Rank: 1, Device: &plan.Device{UUID: "MIG-1", ParentUUID: "GPU-0"}}}
	}
	instance := func(uuid string) gpu.DeviceSample {
		return gpu.DeviceSample{UUID: uuid, ParentUUID: "GPU-0"}
	}
	nameless := func(m *Monitor) {
		m.planned.Workers = []plan.Worker{{Device: &plan.Device{}},
			{Rank: 1, Device: &plan.Device{Index: 1}}}
	}
	moved := of(1, "")
	moved.Index = 0
	type script = []func(context.Context) (gpu.Sample, error)
	for name, c := range map[string]struct {
		script script
		change func(*Monitor)
		want   []string
	}{
		"works": {script{reports(of(0, ""), of(1, ""))}, nil, nil},
		"lost": {script{reports(of(0, ""), of(1, "")), reports(of(0, ""), of(1, code))}, nil,
			[]string{"GPU 1 (rank 1) is lost: " + code}},
		"again": {script{reports(of(0, ""), of(1, code)), reports(of(0, ""), of(1, "")),
			reports(of(0, ""))}, nil, []string{"GPU 1 (rank 1) is lost: " + code,
			"GPU 1 (rank 1) works again", "GPU 1 (rank 1) is lost: NVML no longer lists it"}},
		"count shrinks": {script{reports(moved)}, nil,
			[]string{"GPU 0 (rank 0) is lost: NVML no longer lists it"}},
		"does not say which": {script{reports(of(0, ""), gpu.DeviceSample{Index: 1, Problem: code})},
			nil, []string{"GPU 1 (rank 1) is lost: " + code}},
		"another job's": {script{reports(of(0, ""), of(1, ""), of(2, code))}, nil, nil},
		"not in a sample without GPUs": {script{func(context.Context) (gpu.Sample, error) {
			return gpu.Sample{Error: "cannot count"}, nil
		}, reports(of(0, ""), of(1, ""))}, nil, nil},
		"two ranks": {script{reports(of(0, ""), of(1, code))}, shared,
			[]string{"GPU 1 (rank 0, 1) is lost: " + code}},
		"instances": {script{reports(of(0, ""), instance("MIG-0"), instance("MIG-1"))}, instances,
			nil},
		"an instance": {script{reports(of(0, ""), instance("MIG-1"))}, instances,
			[]string{"GPU 0 (rank 0) is lost: NVML no longer lists its instance MIG-0"}},
		"the GPU of instances": {script{reports(of(0, code))}, instances,
			[]string{"GPU 0 (rank 0) is lost: " + code, "GPU 0 (rank 1) is lost: " + code}},
		"without UUIDs": {script{reports(gpu.DeviceSample{Index: 0})}, nameless,
			[]string{"GPU 1 (rank 1) is lost: NVML no longer lists it"}},
	} {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(c.want, monitored(t, c.change, time.Minute, c.script...)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// TestLossOfAWorker checks which losses the report of a worker has, and which GPUs a restart must
// not use.
func TestLossOfAWorker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, _, _ := newTestMonitor()
		p := m.Plan
		lost := []gpu.DeviceSample{of(0, ""), of(1, "GPU is lost (code 15)")}
		begin := time.Now()
		if l := m.Loss(&p.Workers[1], begin, time.Now()); l != nil || m.Lost(p) != nil {
			t.Errorf("%+v %q", l, m.Lost(p))
		}
		<-time.After(time.Second)
		m.findLosses(lost)
		want := &report.GPULoss{Time: time.Now().Round(0), Reason: "GPU is lost (code 15)"}
		if diff := cmp.Diff(want, m.Loss(&p.Workers[1], begin, time.Now())); diff != "" {
			t.Error(diff)
		}
		if l := m.Loss(&p.Workers[0], begin, time.Now()); l != nil {
			t.Errorf("of another worker: %+v", l)
		}
		if got := m.Lost(p); !cmp.Equal(got, []string{
			"GPU 1 (rank 1) is lost: GPU is lost (code 15)"}) {
			t.Errorf("%q", got)
		}
		// The restart uses another GPU: neither the loss nor XIDs of the first one are its own.
		other := p
		other.Workers = []plan.Worker{p.Workers[0],
			{Rank: 1, Device: &plan.Device{Index: 2, UUID: "GPU-2"}}}
		m.Replanned(other)
		if l := m.Loss(&other.Workers[1], time.Now(), time.Now()); l != nil || m.Lost(other) != nil {
			t.Errorf("%+v %q", l, m.Lost(other))
		}
		if _, ranks := m.xids.add(xidOf(1, 79, 1)); ranks != nil {
			t.Errorf("an XID of the lost GPU is that of the ranks %v", ranks)
		}
		if index, ranks := m.xids.add(xidOf(2, 79, 1)); index != 2 || len(ranks) != 1 {
			t.Errorf("an XID of the new GPU is that of GPU %d, ranks %v", index, ranks)
		}
		// A loss that was over before a worker's start is not its own.
		m.Replanned(p)
		m.findLosses([]gpu.DeviceSample{of(0, ""), of(1, "")})
		if l := m.Loss(&p.Workers[1], begin, time.Now()); l == nil || m.Lost(p) != nil {
			t.Errorf("%+v %q", l, m.Lost(p))
		}
		<-time.After(time.Second)
		if l := m.Loss(&p.Workers[1], time.Now(), time.Now()); l != nil {
			t.Errorf("%+v", l)
		}
		<-time.After(xidWindow)
		if l := m.Loss(&p.Workers[1], begin, time.Now()); l != nil {
			t.Errorf("long before the end: %+v", l)
		}
	})
}
