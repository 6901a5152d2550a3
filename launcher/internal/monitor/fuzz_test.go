package monitor

import (
	"testing"
	"time"

	"github.com/gpulaunch/gpulaunch/gpu"
)

// FuzzGPUEvent checks that whatever event a probe passes on, observers get it, a fatal line is only
// that of an XID, and the counts of repeated events are not lost or made up.
func FuzzGPUEvent(f *testing.F) {
	f.Add("GPU-0", 0, "", string(gpu.EventXID), uint64(79), uint64(1))
	f.Add("GPU-1", 1, "MIG-1", string(gpu.EventXID), uint64(31), uint64(1)<<63)
	f.Add("", -1, "\x1b[31m", string(gpu.EventDropped), uint64(0), uint64(7))
	f.Add("GPU-9", 1<<30, "", string(gpu.EventDoubleBitECC), uint64(1)<<63, uint64(0))
	f.Add("x\ny", 0, "", "unknown kind", uint64(999), uint64(2))
	f.Fuzz(func(t *testing.T, uuid string, index int, mig, kind string, xid, count uint64) {
		m, lines, fatal := newTestMonitor()
		observed := 0
		m.Observer.GPUEvent = func(gpu.Event) { observed++ }
		e := gpu.Event{Time: time.Now(), UUID: uuid, Index: index, MIG: mig,
			Kind: gpu.EventKind(kind), XID: xid, Count: count}
		m.gpuEvent(e)
		m.gpuEvent(e)
		m.events.close(m.Observer.Log)
		if observed != 2 {
			t.Errorf("%+v: %d of 2 events were observed", e, observed)
		}
		if len(*fatal) > 1 || len(*fatal) > 0 && e.Kind != gpu.EventXID {
			t.Errorf("%+v is fatal: %q", e, *fatal)
		}
		if got := lines(); len(got) > 2 {
			t.Errorf("%+v twice leads to %d lines: %q", e, len(got), got)
		}
	})
}
