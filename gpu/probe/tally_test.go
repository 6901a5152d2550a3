package probe

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/gpulaunch/gpulaunch/gpu"
	"github.com/gpulaunch/gpulaunch/gpu/gputest"
)

func xidOf(index int, code uint64) gpu.Event {
	return gpu.Event{Time: time.Unix(int64(code), 0).UTC(), UUID: gputest.UUID(index), Index: index, Kind: gpu.EventXID, XID: code, Count: 1}
}

// taken is what the tally holds, in order.
func taken(t *tally) []gpu.Event {
	var list []gpu.Event
	for _, m := range t.take() {
		if m.Event != nil {
			list = append(list, *m.Event)
		}
	}
	return list
}

func TestTallyCountsTogether(t *testing.T) {
	sum := newTally()
	for i := range 100_000 {
		e := xidOf(i%2, 13)
		e.Time = e.Time.Add(time.Duration(i))
		sum.add(e)
	}
	part := xidOf(1, 13)
	part.MIG = "MIG-1"
	sum.add(part)
	first, second := xidOf(0, 13), xidOf(1, 13)
	first.Count, second.Count, second.Time = 50_000, 50_000, second.Time.Add(1)
	if diff := cmp.Diff([]gpu.Event{first, second, part}, taken(sum)); diff != "" {
		t.Error(diff)
	}
	if len(sum.counts) != 0 || sum.take() != nil {
		t.Error("it was taken and is still there")
	}
}

// TestTallyIsBounded has far more different events than are kept apart, and loses none.
func TestTallyIsBounded(t *testing.T) {
	sum := newTally()
	for code := range uint64(100_000) {
		sum.add(xidOf(int(code%2), code))
	}
	list := taken(sum)
	var total uint64
	for _, e := range list {
		total += e.Count
	}
	dropped := slices.DeleteFunc(slices.Clone(list), func(e gpu.Event) bool { return e.Kind != gpu.EventDropped })
	if len(list) != tallyLimit+2 || total != 100_000 || len(dropped) != 2 || dropped[0].XID != 0 {
		t.Errorf("%d kinds, %d in all, %+v", len(list), total, dropped)
	}
}

func TestTallyTellsOnce(t *testing.T) {
	sum := newTally()
	for range 3 {
		sum.silent("out of order")
	}
	sum.add(xidOf(0, 1))
	if m := sum.take(); len(m) != 2 || m[0].NoEvents != "out of order" {
		t.Errorf("got %+v", m)
	}
	sum.silent("out of order")
	if m := sum.take(); m != nil {
		t.Errorf("told again: %+v", m)
	}
	sum.silent("")
	if m := sum.take(); m != nil {
		t.Errorf("told that all is well: %+v", m)
	}
	sum.silent("out of order")
	if m := sum.take(); len(m) != 1 {
		t.Errorf("after it was well, got %+v", m)
	}
}

// TestTallyDelivers shows that the first event goes out at once, and those that follow it together.
func TestTallyDelivers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, stop := context.WithCancel(t.Context())
		sum, out := newTally(), &pool{}
		go sum.deliver(ctx, out)
		sum.add(xidOf(0, 79))
		synctest.Wait()
		if list := delivered(t, out); len(list) != 1 || list[0].Count != 1 {
			t.Errorf("at once: %+v", list)
		}
		for range 1000 {
			sum.add(xidOf(0, 79))
			synctest.Wait()
		}
		if list := delivered(t, out); len(list) != 0 {
			t.Errorf("within the pause: %+v", list)
		}
		pause(ctx, tallyPause)
		synctest.Wait()
		if list := delivered(t, out); len(list) != 1 || list[0].Count != 1000 {
			t.Errorf("after the pause: %+v", list)
		}
		stop()
		synctest.Wait()
	})
}

// TestTallyWithStuckReader adds while nobody reads.
func TestTallyWithStuckReader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sum := newTally()
		read, write := io.Pipe()
		failed := make(chan error)
		go func() { failed <- sum.deliver(t.Context(), write) }()
		for i := range 100_000 {
			sum.add(xidOf(i%8, 31))
		}
		synctest.Wait()
		if len(sum.counts) > 8 {
			t.Errorf("%d kinds", len(sum.counts))
		}
		read.Close()
		if err := <-failed; !errors.Is(err, io.ErrClosedPipe) {
			t.Errorf("got %v", err)
		}
	})
}

// pool is a buffer that one goroutine fills and another one empties.
type pool struct {
	mu     sync.Mutex
	buffer bytes.Buffer
}

func (p *pool) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.buffer.Write(b)
}

func (p *pool) Read(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.buffer.Read(b)
}

func delivered(t *testing.T, from io.Reader) []gpu.Event {
	t.Helper()
	var list []gpu.Event
	for {
		message, err := readFrame(from)
		if err != nil {
			return list
		}
		var m eventMessage
		if err := json.Unmarshal(message, &m); err != nil || m.Event == nil {
			t.Fatalf("%s: %v", message, err)
		}
		list = append(list, *m.Event)
	}
}
