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

// hearing is a Monitor of a job of two workers. lines gives what it has said since the last
// call, fatal what it has called fatal.
func hearing() (m *Monitor, lines func() []string, fatal *[]string) {
	var mu sync.Mutex
	var said []string
	fatal = &[]string{}
	m = New(Options{
		Plan: plan.Plan{Mode: plan.ModeGPU, Workers: []plan.Worker{
			{Device: &plan.Device{UUID: "GPU-0"}},
			{Rank: 1, Device: &plan.Device{Index: 1, UUID: "GPU-1"}},
		}},
		Observer: Observer{
			GPUEvent: func(gpu.Event) {},
			Say: func(line string) {
				mu.Lock()
				defer mu.Unlock()
				said = append(said, line)
			},
			Fatal: func(line string) { *fatal = append(*fatal, line) },
		},
	})
	return m, func() []string {
		mu.Lock()
		defer mu.Unlock()
		list := said
		said = nil
		return list
	}, fatal
}

func xidOf(index int, xid, count uint64) gpu.Event {
	return gpu.Event{Time: time.Now(), UUID: fmt.Sprint("GPU-", index), Index: index,
		Kind: gpu.EventXID, XID: xid, Count: count}
}

// TestXIDsAreToldSparingly: the same of one GPU once in ten seconds, with how often.
func TestXIDsAreToldSparingly(t *testing.T) {
	const meaning = "XID 63, bad memory was marked for remapping or retirement (other)"
	const line0, line1 = "GPU 0 (rank 0): " + meaning, "GPU 1 (rank 1): " + meaning
	synctest.Test(t, func(t *testing.T) {
		m, lines, _ := hearing()
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
		m.gpuEvent(xidOf(1, 63, 1)) // a pause without it is over
		expect(line1)
		<-time.After(repeatPause)
		expect()
		m.gpuEvent(xidOf(0, 63, 1))
		m.gpuEvent(xidOf(0, 63, 3))
		m.events.close(m.Observer.Say)
		expect(line0, line0+", again 3 times")
		m.gpuEvent(xidOf(0, 63, 1))
		<-time.After(repeatPause * 2)
		expect()
	})
}

// A flood of events takes no time and little memory, and a fatal one in it is told once.
func TestFloodOfXIDs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // no time goes by
		m, lines, fatal := hearing()
		for i := range 20_000 {
			m.gpuEvent(xidOf(i%2, uint64(i), 1))
		}
		m.gpuEvent(xidOf(0, 79, 1))
		if n := len(lines()); n != repeatLimit || len(m.events.recent) != repeatLimit {
			t.Errorf("%d lines, %d kept", n, len(m.events.recent))
		}
		m.events.close(m.Observer.Say)
		if len(*fatal) != 1 ||
			(*fatal)[0] != "GPU 0 (rank 0): XID 46, the GPU stopped processing (fatal)" {
			t.Errorf("%q are fatal", *fatal)
		}
	})
}

// silentGPUs gives no figures, and may be told of events.
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

// GPUs that do not answer are told as such, again and again, and hold up neither the
// workers' figures nor the end.
func TestGPUsThatDoNotAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, _, _ := hearing()
		var silent, why []string
		m.GPUs = silentGPUs{}
		m.Observer.GPUsSilent = func(reason string) { silent = append(silent, reason) }
		m.Observer.EventsSilent = func(reason string) { why = append(why, reason) }
		m.Start()
		<-time.After(firstLook + 2*(sampleLimit+interval) - time.Second)
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
