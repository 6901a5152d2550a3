//go:build linux && !nonvml && !gonvml

package probe

import (
	"runtime"
	"testing"

	"github.com/gpulaunch/gpulaunch/gpu"
)

// openProbe is a Probe that is closed with the test.
func openProbe(t testing.TB, o Options) *Probe {
	t.Helper()
	p := NewProbe(o)
	t.Cleanup(p.Close)
	return p
}

// discover is Discover.
func discover(t testing.TB, o Options) gpu.Inventory {
	t.Helper()
	return Discover(o)
}

// TestSampleDoesNotGrow counts what is left of many rounds, and compares what early and late ones allocate. The race
// detector has purego's pool forget at random, hence the tolerance.
func TestSampleDoesNotGrow(t *testing.T) {
	p := openProbe(t, installed(t, eight().MIG(1)))
	const rounds = 2000
	round := func() { p.Sample() }
	early := testing.AllocsPerRun(20, round)
	before := objects()
	for range rounds {
		round()
	}
	if after := objects(); after > before+rounds/2 {
		t.Errorf("%d objects before %d rounds, %d after", before, rounds, after)
	}
	if late := testing.AllocsPerRun(20, round); late > early*1.1 {
		t.Errorf("%v allocations a round at first, then %v", early, late)
	}
}

// objects are those in use after a garbage collection.
func objects() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapObjects
}

func TestClosedProbe(t *testing.T) {
	p := NewProbe(installed(t, eight()))
	p.Close()
	p.Close()
	if s := p.Sample(); s.Error != "the probe is closed" {
		t.Errorf("got %+v", s)
	}
	reasonHas(t, p.Inventory(), gpu.SourceDriver, "the probe is closed")
}
