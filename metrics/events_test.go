package metrics

import (
	"fmt"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/gpulaunch/gpulaunch/gpu"
	"github.com/gpulaunch/gpulaunch/launcher"
)

func TestEvents(t *testing.T) {
	r := exampleJob()
	for _, e := range []gpu.Event{
		{UUID: "GPU-1", Index: 1, Kind: gpu.EventXID, XID: 79, Count: 2},
		// the indexes have shifted
		{UUID: "GPU-1", Index: 0, Kind: gpu.EventXID, XID: 79, Count: 1},
		{UUID: "GPU-0", Index: 0, MIG: "MIG-1", Kind: gpu.EventXID, XID: 31, Count: 100_000},
		{UUID: "GPU-9", Index: 9, Kind: gpu.EventXID, XID: 31, Count: 1}, // not there at the start
		{Index: -1, Kind: gpu.EventXID, XID: 31, Count: 1},
		{UUID: "GPU-0", Index: 0, Kind: gpu.EventDropped, Count: 7},
		{UUID: "GPU-0", Index: 0, Kind: gpu.EventDoubleBitECC, Count: 3},
	} {
		r.Observe(launcher.Event{Kind: launcher.GPUHappening, GPU: &e})
	}
	want := `
# HELP gpulaunch_gpu_events_total How often the driver reported something else of the GPU.
# TYPE gpulaunch_gpu_events_total counter
gpulaunch_gpu_events_total{gpu="0",kind="double-bit-ecc",uuid="GPU-0"} 3
# HELP gpulaunch_gpu_xid_events_total How often the driver reported an error of the GPU, by its XID and whom that concerns: application, fatal (the GPU) or other. XIDs behind the 256th series are counted as other.
# TYPE gpulaunch_gpu_xid_events_total counter
gpulaunch_gpu_xid_events_total{class="application",gpu="",uuid="",xid="31"} 2
gpulaunch_gpu_xid_events_total{class="application",gpu="0",uuid="GPU-0",xid="31"} 100000
gpulaunch_gpu_xid_events_total{class="fatal",gpu="1",uuid="GPU-1",xid="79"} 3
gpulaunch_gpu_xid_events_total{class="other",gpu="0",uuid="GPU-0",xid="other"} 7
`
	if err := testutil.CollectAndCompare(r, strings.NewReader(want),
		"gpulaunch_gpu_xid_events_total", "gpulaunch_gpu_events_total"); err != nil {
		t.Error(err)
	}
}

// TestEventsAreBounded: no driver can make up series without end.
func TestEventsAreBounded(t *testing.T) {
	r := exampleJob()
	for i := range 10_000 {
		r.Observe(launcher.Event{Kind: launcher.GPUHappening,
			GPU: &gpu.Event{UUID: fmt.Sprint("GPU-", i%3), Index: i % 3, Kind: gpu.EventXID,
				XID: uint64(1000 + i), Count: 1}})
		r.Observe(launcher.Event{Kind: launcher.GPUHappening,
			GPU: &gpu.Event{UUID: "GPU-0", Kind: gpu.EventKind(fmt.Sprint("type ", i)), Count: 1}})
	}
	// Two GPUs and the unknown ones have a series for the rest.
	if n := testutil.CollectAndCount(r, "gpulaunch_gpu_xid_events_total",
		"gpulaunch_gpu_events_total"); n != eventLimit+3 {
		t.Errorf("%d series, want %d", n, eventLimit+3)
	}
	total := uint64(0)
	for _, n := range r.events {
		total += n
	}
	if total != 20_000 {
		t.Errorf("%d events are counted, want 20000", total)
	}
}
