package launcher

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/gpulaunch/gpulaunch/gpu"
)

// madePlan is the plan for a machine.
func madePlan(t *testing.T, m Machine, change func(*Options)) Plan {
	t.Helper()
	o := options()
	if change != nil {
		change(&o)
	}
	p, err := NewPlan(m, o)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestXIDLogOwners(t *testing.T) {
	three := twoNodes("2,0,1", 0, 0, 1)
	for name, c := range map[string]struct {
		plan  Plan
		event gpu.Event
		want  string
	}{
		"a rank's GPU":       {madePlan(t, three, nil), gpu.Event{UUID: "GPU-2", Index: 2, XID: 79}, "GPU 2 (rank 0): XID 79, the GPU fell off the bus (fatal)"},
		"shifted":            {madePlan(t, three, nil), gpu.Event{UUID: "GPU-2", Index: 1, XID: 79}, "GPU 2 (rank 0): XID 79, the GPU fell off the bus (fatal)"},
		"nobody's":           {madePlan(t, three, func(o *Options) { o.Workers = CountOf(1) }), gpu.Event{UUID: "GPU-1", Index: 1, XID: 79}, ""},
		"unknown":            {madePlan(t, three, nil), gpu.Event{Index: -1, XID: 79}, ""},
		"shared":             {madePlan(t, twoNodes("unset", 0), func(o *Options) { o.Workers, o.Oversubscribe = CountOf(2), true }), gpu.Event{UUID: "GPU-0", XID: 31}, "GPU 0 (rank 0, 1): XID 31, page fault in GPU memory: an illegal address was accessed (application)"},
		"an instance":        {madePlan(t, sickParts(), nil), gpu.Event{UUID: "GPU-0", MIG: "MIG-2", XID: 1234}, "GPU 0 (rank 1): XID 1234, not in NVIDIA's catalogue (other)"},
		"all instances":      {madePlan(t, sickParts(), nil), gpu.Event{UUID: "GPU-0", XID: 48}, "GPU 0 (rank 0, 1): XID 48, uncorrectable memory error (fatal)"},
		"on the second node": {madePlan(t, three, func(o *Options) { o.Nodes, o.NodeRank, o.MasterPort = 2, 1, 1 }), gpu.Event{UUID: "GPU-0", XID: 48}, "GPU 0 (rank 4): XID 48, uncorrectable memory error (fatal)"},
		"another kind":       {madePlan(t, three, nil), gpu.Event{UUID: "GPU-0", Kind: gpu.EventDoubleBitECC}, "GPU 0 (rank 1): event double-bit-ecc"},
		"a flood":            {madePlan(t, three, nil), gpu.Event{UUID: "GPU-0", Kind: gpu.EventDropped}, "GPU 0 (rank 1): events in too great a variety to be told apart"},
	} {
		if c.event.Kind == "" {
			c.event.Kind = gpu.EventXID
		}
		got := ""
		if index, ranks := NewXIDLog(c.plan).Add(c.event); len(ranks) > 0 {
			got = DescribeEvent(c.event, index, ranks)
		}
		if got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}

func TestXIDLogBefore(t *testing.T) {
	p := madePlan(t, twoNodes("unset", 0, 1), nil)
	l := NewXIDLog(p)
	end := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	begin := end.Add(-time.Hour)
	add := func(before time.Duration, gpuIndex int, xid, count uint64) {
		l.Add(gpu.Event{Time: end.Add(-before), UUID: fmt.Sprint("GPU-", gpuIndex), Index: gpuIndex, Kind: gpu.EventXID, XID: xid, Count: count})
	}
	add(5*time.Minute+time.Second, 0, 63, 1) // too early
	add(5*time.Minute, 0, 31, 2)
	add(2*time.Second, 0, 79, 1)
	add(time.Second, 1, 48, 1) // another GPU's
	add(-time.Second, 0, 31, 100)
	add(-2*time.Second, 0, 45, 1) // too late
	l.Add(gpu.Event{Time: end, UUID: "GPU-0", Kind: gpu.EventRecoveryAction, Count: 1})
	want := []XID{
		{end.Add(-5 * time.Minute), 31, gpu.XIDApplication, "page fault in GPU memory: an illegal address was accessed", 102},
		{end.Add(-2 * time.Second), 79, gpu.XIDFatal, "the GPU fell off the bus", 1},
	}
	if diff := cmp.Diff(want, l.before(&p.Workers[0], begin, end)); diff != "" {
		t.Error(diff)
	}
	if got := l.before(&Worker{}, begin, end); got != nil {
		t.Errorf("without a GPU: %v", got)
	}
	if got := (*XIDLog)(nil).before(&p.Workers[0], begin, end); got != nil {
		t.Errorf("without a log: %v", got)
	}
	r := Result{Workers: []WorkerResult{{Worker: &p.Workers[0], Ended: end}}}
	rep := r.Report(p, Config{XIDs: l})
	if len(rep.Workers[0].XIDs) != 2 || rep.Workers[0].XIDs[1].Class != "fatal" || rep.Workers[0].XIDs[0].Count != 102 {
		t.Errorf("%+v", rep.Workers[0].XIDs)
	}
	// Of another attempt's, only what the GPU keeps from it counts.
	l.seen[0] = l.seen[0][:3]
	if diff := cmp.Diff(want[1:], l.before(&p.Workers[0], end.Add(-time.Second), end)); diff != "" {
		t.Error(diff)
	}
}

// TestXIDLogIsBounded: a driver that reports for ever takes no memory for it, and
// neither does it drive out what another GPU said.
func TestXIDLogIsBounded(t *testing.T) {
	p := madePlan(t, twoNodes("unset", 0, 1), nil)
	l := NewXIDLog(p)
	now := time.Now()
	l.Add(gpu.Event{Time: now, UUID: "GPU-1", Index: 1, Kind: gpu.EventXID, XID: 79, Count: 1})
	for i := range 10_000 {
		at := now.Add(time.Duration(i) * 10 * time.Millisecond)
		l.Add(gpu.Event{Time: at, UUID: "GPU-0", Kind: gpu.EventXID, XID: uint64(i), Count: 1})
	}
	if n := len(l.seen[0]); n != xidLimit {
		t.Errorf("%d entries, want %d", n, xidLimit)
	}
	if got := l.before(&p.Workers[0], now, now.Add(100*time.Second)); len(got) != xidsTold || got[0].XID != 10_000-xidLimit {
		t.Errorf("%d are told, the first %v", len(got), got[0])
	}
	if got := l.before(&p.Workers[1], now, now.Add(100*time.Second)); len(got) != 1 || got[0].XID != 79 {
		t.Errorf("the other GPU's: %v", got)
	}
	// The same again and again is one entry.
	for range 100_000 {
		l.Add(gpu.Event{Time: now, UUID: "GPU-1", Index: 1, Kind: gpu.EventXID, XID: 79, Count: 1})
	}
	if n := len(l.seen[1]); n != 1 || l.seen[1][0].count != 100_001 {
		t.Errorf("%d entries of %d", n, l.seen[1][0].count)
	}
}

func TestFatal(t *testing.T) {
	for want, events := range map[bool][]gpu.Event{
		true:  {{Kind: gpu.EventXID, XID: 79}, {Kind: gpu.EventXID, XID: 48}},
		false: {{Kind: gpu.EventXID, XID: 31}, {Kind: gpu.EventXID, XID: 99999}, {Kind: gpu.EventDoubleBitECC}, {Kind: gpu.EventDropped}},
	} {
		for _, e := range events {
			if Fatal(e) != want {
				t.Errorf("%+v: %v", e, !want)
			}
		}
	}
}
