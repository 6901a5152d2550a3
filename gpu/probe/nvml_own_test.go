//go:build linux && !nonvml && !gonvml

package probe

import (
	"runtime"
	"testing"

	"github.com/gpulaunch/gpulaunch/gpu"
)

// openProbe returns a localProbe that is closed when the test ends.
func openProbe(t testing.TB, o Options) *localProbe {
	t.Helper()
	p := newLocalProbe(o)
	t.Cleanup(p.Close)
	return p
}

// hangingCall returns what is known of a call that hangs. With the tag gonvml it is nothing.
func hangingCall(function string) string { return function }

// discover is Discover. With the tag gonvml it is another function.
func discover(t testing.TB, o Options) gpu.Inventory {
	t.Helper()
	return Discover(o)
}

// TestSampleDoesNotGrow counts the objects that many rounds leave behind, and compares what early
// and late rounds allocate. The tolerance is for the race detector, under which purego's pool
// drops objects at random.
func TestSampleDoesNotGrow(t *testing.T) {
	p := openProbe(t, install(t, eightGPUs().MIG(1)))
	const rounds = 2000
	round := func() { p.Sample() }
	early := testing.AllocsPerRun(20, round)
	before := liveObjects()
	for range rounds {
		round()
	}
	if after := liveObjects(); after > before+rounds/2 {
		t.Errorf("%d objects before %d rounds, %d after", before, rounds, after)
	}
	if late := testing.AllocsPerRun(20, round); late > early*1.1 {
		t.Errorf("%v allocations a round at first, then %v", early, late)
	}
}

// liveObjects returns the number of objects on the heap after a garbage collection.
func liveObjects() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapObjects
}

func TestClosedProbe(t *testing.T) {
	p := newLocalProbe(install(t, eightGPUs()))
	p.Close()
	p.Close()
	if got, want := p.Sample().Error, "the probe is closed"; got != want {
		t.Errorf("the sample has the error %q, want %q", got, want)
	}
	checkReason(t, p.Inventory(), gpu.SourceDriver, "the probe is closed")
}
