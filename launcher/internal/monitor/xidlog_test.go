package monitor

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/gpulaunch/gpulaunch/gpu"
	"github.com/gpulaunch/gpulaunch/launcher/plan"
	"github.com/gpulaunch/gpulaunch/launcher/plan/plantest"
	"github.com/gpulaunch/gpulaunch/launcher/report"
)

// madePlan returns the plan for a machine.
func madePlan(t *testing.T, m plan.Machine, change func(*plan.Options)) plan.Plan {
	t.Helper()
	o := plantest.Options()
	if change != nil {
		change(&o)
	}
	return plantest.Plan(t, m, o)
}

func TestXIDLogOwners(t *testing.T) {
	three := plantest.TwoNodes("2,0,1", 0, 0, 1)
	for name, c := range map[string]struct {
		plan  plan.Plan
		event gpu.Event
		want  string
	}{
		"a rank's GPU": {madePlan(t, three, nil), gpu.Event{UUID: "GPU-2", Index: 2, XID: 79},
			"GPU 2 (rank 0): XID 79, the GPU fell off the bus (fatal)"},
		"shifted": {madePlan(t, three, nil), gpu.Event{UUID: "GPU-2", Index: 1, XID: 79},
			"GPU 2 (rank 0): XID 79, the GPU fell off the bus (fatal)"},
		"nobody's": {madePlan(t, three, func(o *plan.Options) {
			o.Workers = plan.Workers(1)
		}), gpu.Event{UUID: "GPU-1", Index: 1, XID: 79}, ""},
		"unknown": {madePlan(t, three, nil), gpu.Event{Index: -1, XID: 79}, ""},
		"shared": {madePlan(t, plantest.TwoNodes("unset", 0), func(o *plan.Options) {
			o.Workers, o.Oversubscribe = plan.Workers(2), true
		}), gpu.Event{UUID: "GPU-0", XID: 31},
			"GPU 0 (rank 0, 1): XID 31, page fault in GPU memory: an illegal address was " +
				"accessed (application)"},
		"an instance": {madePlan(t, plantest.MIGWithFinding(), nil),
			gpu.Event{UUID: "GPU-0", MIG: "MIG-2", XID: 1234},
			"GPU 0 (rank 1): XID 1234, unknown to this version (other)"},
		"all instances": {madePlan(t, plantest.MIGWithFinding(), nil), gpu.Event{UUID: "GPU-0",
			XID: 48}, "GPU 0 (rank 0, 1): XID 48, uncorrectable memory error (fatal)"},
		"on the second node": {madePlan(t, three, func(o *plan.Options) {
			o.Nodes, o.NodeRank, o.MasterPort = 2, 1, 1
		}), gpu.Event{UUID: "GPU-0", XID: 48},
			"GPU 0 (rank 4): XID 48, uncorrectable memory error (fatal)"},
		"another kind": {madePlan(t, three, nil), gpu.Event{UUID: "GPU-0",
			Kind: gpu.EventDoubleBitECC}, "GPU 0 (rank 1): event double-bit-ecc"},
		"a flood": {madePlan(t, three, nil), gpu.Event{UUID: "GPU-0", Kind: gpu.EventDropped},
			"GPU 0 (rank 1): events in too great a variety to be told apart"},
	} {
		if c.event.Kind == "" {
			c.event.Kind = gpu.EventXID
		}
		got := ""
		if index, ranks := newXIDLog(c.plan).add(c.event); len(ranks) > 0 {
			got = describeEvent(c.event, index, ranks)
		}
		if got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}

func TestXIDLogBefore(t *testing.T) {
	p := madePlan(t, plantest.TwoNodes("unset", 0, 1), nil)
	l := newXIDLog(p)
	end := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	begin := end.Add(-time.Hour)
	add := func(before time.Duration, gpuIndex int, xid, count uint64) {
		l.add(gpu.Event{Time: end.Add(-before), UUID: fmt.Sprint("GPU-", gpuIndex), Index: gpuIndex,
			Kind: gpu.EventXID, XID: xid, Count: count})
	}
	add(5*time.Minute+time.Second, 0, 63, 1) // too early
	add(5*time.Minute, 0, 31, 2)
	add(2*time.Second, 0, 79, 1)
	add(time.Second, 1, 48, 1) // another GPU's
	add(-time.Second, 0, 31, 100)
	add(-2*time.Second, 0, 45, 1) // too late
	l.add(gpu.Event{Time: end, UUID: "GPU-0", Kind: gpu.EventRecoveryAction, Count: 1})
	want := []report.XID{
		{Time: end.Add(-5 * time.Minute), XID: 31, Class: "application",
			Meaning: "page fault in GPU memory: an illegal address was accessed", Count: 102},
		{Time: end.Add(-2 * time.Second), XID: 79, Class: "fatal",
			Meaning: "the GPU fell off the bus", Count: 1},
	}
	if diff := cmp.Diff(want, l.before(&p.Workers[0], begin, end)); diff != "" {
		t.Error(diff)
	}
	if got := l.before(&plan.Worker{}, begin, end); got != nil {
		t.Errorf("without a GPU: %v", got)
	}
	// Of the XIDs of another attempt, only the fatal one counts.
	l.seen[0] = l.seen[0][:3]
	if diff := cmp.Diff(want[1:], l.before(&p.Workers[0], end.Add(-time.Second), end)); diff != "" {
		t.Error(diff)
	}
}

// TestXIDLogIsBounded checks that a driver that reports errors forever does not fill memory, and
// that its reports for one GPU do not push out those for another.
func TestXIDLogIsBounded(t *testing.T) {
	p := madePlan(t, plantest.TwoNodes("unset", 0, 1), nil)
	l := newXIDLog(p)
	now := time.Now()
	l.add(gpu.Event{Time: now, UUID: "GPU-1", Index: 1, Kind: gpu.EventXID, XID: 79, Count: 1})
	for i := range 10_000 {
		at := now.Add(time.Duration(i) * 10 * time.Millisecond)
		l.add(gpu.Event{Time: at, UUID: "GPU-0", Kind: gpu.EventXID, XID: uint64(i), Count: 1})
	}
	if n := len(l.seen[0]); n != xidLimit {
		t.Errorf("%d entries, want %d", n, xidLimit)
	}
	if got := l.before(&p.Workers[0], now, now.Add(100*time.Second)); len(got) != maxXIDs ||
		got[0].XID != 10_000-xidLimit {
		t.Errorf("%d are reported, the first %v", len(got), got[0])
	}
	if got := l.before(&p.Workers[1], now, now.Add(100*time.Second)); len(got) != 1 ||
		got[0].XID != 79 {
		t.Errorf("the other GPU's: %v", got)
	}
	// The same XID, repeated, is one entry.
	for range 100_000 {
		l.add(gpu.Event{Time: now, UUID: "GPU-1", Index: 1, Kind: gpu.EventXID, XID: 79, Count: 1})
	}
	if n := len(l.seen[1]); n != 1 || l.seen[1][0].count != 100_001 {
		t.Errorf("%d entries of %d", n, l.seen[1][0].count)
	}
}

func TestFatal(t *testing.T) {
	for want, events := range map[bool][]gpu.Event{
		true: {{Kind: gpu.EventXID, XID: 79}, {Kind: gpu.EventXID, XID: 48}},
		false: {{Kind: gpu.EventXID, XID: 31}, {Kind: gpu.EventXID, XID: 99999},
			{Kind: gpu.EventDoubleBitECC}, {Kind: gpu.EventDropped}},
	} {
		for _, e := range events {
			if isFatal(e) != want {
				t.Errorf("%+v: %v", e, !want)
			}
		}
	}
}
