package metrics

import (
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/gpulaunch/gpulaunch/gpu"
	"github.com/gpulaunch/gpulaunch/launcher"
	"github.com/gpulaunch/gpulaunch/launcher/plan"
)

// TestProcessorTimeNeverGoesBack checks that a later sample with less processor time, and an end
// with less than the last sample, leave the counter as it is, because Prometheus takes a counter
// that goes back for one that began anew. What is more counts.
func TestProcessorTimeNeverGoesBack(t *testing.T) {
	r := NewRecorder(Build{"v1", "go1"}, time.Unix(1000, 0), gpu.Inventory{})
	r.Observe(launcher.Event{Kind: launcher.JobStarted,
		Plan: &plan.Plan{Workers: []plan.Worker{{}}}})
	r.Observe(launcher.Event{Kind: launcher.WorkerStarted, PID: 100, Time: time.Unix(1001, 0)})
	for _, step := range []struct {
		kind launcher.EventKind
		cpu  time.Duration
		want string
	}{
		{launcher.WorkerSampled, 4 * time.Second, "4"},
		{launcher.WorkerSampled, 3 * time.Second, "4"},
		{launcher.WorkerSampled, 5 * time.Second, "5"},
		{launcher.WorkerExited, 2 * time.Second, "5"},
	} {
		r.Observe(launcher.Event{Kind: step.kind, PID: 100, CPU: step.cpu})
		want := `
# HELP gpulaunch_worker_cpu_seconds_total User and system time of the worker and the children it ` +
			`waited for, over all restarts.
# TYPE gpulaunch_worker_cpu_seconds_total counter
gpulaunch_worker_cpu_seconds_total{rank="0"} ` + step.want + "\n"
		if err := testutil.CollectAndCompare(r, strings.NewReader(want),
			"gpulaunch_worker_cpu_seconds_total"); err != nil {
			t.Errorf("after %s: %v", step.cpu, err)
		}
	}
}

// TestLabelsAreValidUTF8 checks that text from outside that is no UTF-8 hides no series: the client
// library refuses such labels with a panic.
func TestLabelsAreValidUTF8(t *testing.T) {
	const bad, good = "\xff\xfe", "näme"
	r := NewRecorder(Build{"v1", "go1"}, time.Unix(1000, 0), gpu.Inventory{Source: bad,
		Devices: []gpu.Device{{UUID: bad, Name: bad}, {Index: 1, UUID: "GPU-1", Name: good}}})
	r.Observe(launcher.Event{Kind: launcher.JobStarted, Plan: &plan.Plan{Mode: "gpu", RunID: bad,
		Workers: []plan.Worker{{Device: &plan.Device{UUID: bad}}}}})
	registry := prometheus.NewRegistry()
	registry.MustRegister(r)
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	replaced, kept := 0, 0
	for _, family := range families {
		for _, m := range family.GetMetric() {
			for _, label := range m.GetLabel() {
				switch value := label.GetValue(); {
				case !utf8.ValidString(value):
					t.Errorf("%s has the label %s=%q", family.GetName(), label.GetName(), value)
				case value == "?":
					replaced++
				case value == good:
					kept++
				}
			}
		}
	}
	if replaced == 0 || kept == 0 {
		t.Errorf("%d labels have a question mark instead, %d the name that is UTF-8",
			replaced, kept)
	}
}
