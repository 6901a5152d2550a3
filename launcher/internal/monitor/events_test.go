package monitor

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/gpulaunch/gpulaunch/gpu"
	"github.com/gpulaunch/gpulaunch/launcher/plan"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// newTestMonitor returns a Monitor of a job of two workers. lines returns what it has logged since
// the last call, and fatal has the lines that it has called fatal.
func newTestMonitor() (m *Monitor, lines func() []string, fatal *[]string) {
	var mu sync.Mutex
	var logged []string
	fatal = &[]string{}
	m = New(Options{
		Plan: plan.Plan{Mode: plan.ModeGPU, Workers: []plan.Worker{
			{Device: &plan.Device{UUID: "GPU-0"}},
			{Rank: 1, Device: &plan.Device{Index: 1, UUID: "GPU-1"}},
		}},
		Observer: Observer{
			GPUEvent: func(gpu.Event) {},
			Log: func(line string) {
				mu.Lock()
				defer mu.Unlock()
				logged = append(logged, line)
			},
			Fatal: func(line string) { *fatal = append(*fatal, line) },
		},
	})
	return m, func() []string {
		mu.Lock()
		defer mu.Unlock()
		list := logged
		logged = nil
		return list
	}, fatal
}

func xidOf(index int, xid, count uint64) gpu.Event {
	return gpu.Event{Time: time.Now(), UUID: fmt.Sprint("GPU-", index), Index: index,
		Kind: gpu.EventXID, XID: xid, Count: count}
}

// TestRepeatedXIDsAreCounted checks that the same XID of one GPU is printed once in ten seconds,
// with how often it has come.
func TestRepeatedXIDsAreCounted(t *testing.T) {
	const meaning = "XID 63, bad memory was marked for remapping or retirement (other)"
	const line0, line1 = "GPU 0 (rank 0): " + meaning, "GPU 1 (rank 1): " + meaning
	synctest.Test(t, func(t *testing.T) {
		m, lines, _ := newTestMonitor()
		expect := func(want ...string) {
			t.Helper()
			synctest.Wait()
			if diff := cmp.Diff(want, lines()); diff != "" {
				t.Error(diff)
			}
		}
		m.gpuEvent(xidOf(0, 63, 1))
		m.gpuEvent(xidOf(0, 63, 5))
		m.gpuEvent(xidOf(1, 63, 2))
		expect(line0, line1+", 2 times")
		<-time.After(repeatPause - time.Second)
		m.gpuEvent(xidOf(0, 63, 4))
		expect()
		<-time.After(2 * time.Second)
		expect(line0 + ", again 9 times in 10s")
		m.gpuEvent(xidOf(1, 63, 1)) // it had not come again for repeatPause
		expect(line1)
		<-time.After(repeatPause)
		expect()
		m.gpuEvent(xidOf(0, 63, 1))
		m.gpuEvent(xidOf(0, 63, 3))
		m.events.close(m.Observer.Log)
		expect(line0, line0+", again 3 times")
		m.gpuEvent(xidOf(0, 63, 1))
		<-time.After(repeatPause * 2)
		expect()
	})
}

// TestFloodOfXIDs checks that a flood of events takes no time and little memory, and that a fatal
// XID in it is reported once.
func TestFloodOfXIDs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // its clock stands still
		m, lines, fatal := newTestMonitor()
		for i := range 20_000 {
			m.gpuEvent(xidOf(i%2, uint64(i), 1))
		}
		m.gpuEvent(xidOf(0, 79, 1))
		if n := len(lines()); n != repeatLimit || len(m.events.recent) != repeatLimit {
			t.Errorf("%d lines, %d kept", n, len(m.events.recent))
		}
		m.events.close(m.Observer.Log)
		if len(*fatal) != 1 ||
			(*fatal)[0] != "GPU 0 (rank 0): XID 46, the GPU stopped processing (fatal)" {
			t.Errorf("reported as fatal: %q", *fatal)
		}
	})
}

// silentGPUs are GPUs that answer no query and send no events.
type silentGPUs struct{}

func (silentGPUs) Sample(ctx context.Context) (gpu.Sample, error) {
	<-ctx.Done()
	return gpu.Sample{}, ctx.Err()
}
func (silentGPUs) Inventory(ctx context.Context) (gpu.Inventory, error) {
	<-ctx.Done()
	return gpu.Inventory{}, ctx.Err()
}
func (silentGPUs) Subscribe(_ func(gpu.Event), onSilence func(string)) {
	onSilence("nobody knows")
}

// TestGPUsThatDoNotAnswer checks that GPUs that do not answer are reported each time, and that they
// delay neither the workers' samples nor the end.
func TestGPUsThatDoNotAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, _, _ := newTestMonitor()
		var silent, why []string
		m.GPUs = silentGPUs{}
		m.Observer.GPUsSilent = func(reason string) { silent = append(silent, reason) }
		m.Observer.EventsSilent = func(reason string) { why = append(why, reason) }
		m.Start()
		<-time.After(firstSample + 2*(sampleLimit+interval) - time.Second)
		synctest.Wait()
		if len(silent) != 2 || !slices.Equal(why, []string{"nobody knows"}) {
			t.Errorf("silent %q, no events because %q", silent, why)
		}
		begin := time.Now()
		if got := m.Leftovers(t.Context()); got != nil ||
			time.Since(begin) > lateLimit+leftoversLimit {
			t.Errorf("leftovers %v after %s", got, time.Since(begin))
		}
		m.Close()
	})
}

// TestSilenceOfEvents checks that the reason why no events come is reported until they come again.
func TestSilenceOfEvents(t *testing.T) {
	m, _, _ := newTestMonitor()
	var heard []string
	m.Observer.EventsSilent = func(reason string) { heard = append(heard, reason) }
	for _, reason := range []string{"", "first", "second", "", "", "third"} {
		m.eventsSilent(reason)
	}
	if !slices.Equal(heard, []string{"first", "", "third"}) {
		t.Errorf("%q", heard)
	}
}
