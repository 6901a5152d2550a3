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

// xidEvent returns an XID event of the GPU with an index. Its time depends on the XID.
func xidEvent(index int, xid uint64) gpu.Event {
	return gpu.Event{
		Time: time.Unix(int64(xid), 0).UTC(), UUID: gputest.UUID(index), Index: index,
		Kind: gpu.EventXID, XID: xid, Count: 1,
	}
}

// takeEvents takes the events that the counter holds, in order.
func takeEvents(c *eventCounter) []gpu.Event {
	var list []gpu.Event
	for _, m := range c.take() {
		if m.Event != nil {
			list = append(list, *m.Event)
		}
	}
	return list
}

// takeReasons takes the reasons that the counter holds.
func takeReasons(c *eventCounter) []string {
	var list []string
	for _, m := range c.take() {
		if m.NoEvents != "" {
			list = append(list, m.NoEvents)
		}
	}
	return list
}

func TestEventCounterAddsEqualEvents(t *testing.T) {
	counter := newEventCounter()
	for i := range 100_000 {
		e := xidEvent(i%2, 13)
		e.Time = e.Time.Add(time.Duration(i))
		counter.add(e)
	}
	ofInstance := xidEvent(1, 13)
	ofInstance.MIG = "MIG-1"
	counter.add(ofInstance)
	first, second := xidEvent(0, 13), xidEvent(1, 13)
	first.Count, second.Count, second.Time = 50_000, 50_000, second.Time.Add(1)
	if diff := cmp.Diff([]gpu.Event{first, second, ofInstance}, takeEvents(counter)); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}
	if n := len(counter.counts); n != 0 {
		t.Errorf("%d events are still counted after they were taken", n)
	}
	if m := counter.take(); m != nil {
		t.Errorf("taking again gave %+v, want nothing", m)
	}
}

// TestEventCounterIsBounded adds far more different events than are kept apart. None is lost.
func TestEventCounterIsBounded(t *testing.T) {
	counter := newEventCounter()
	for xid := range uint64(100_000) {
		counter.add(xidEvent(int(xid%2), xid))
	}
	list := takeEvents(counter)
	if want := distinctEventsLimit + 2; len(list) != want {
		t.Errorf("%d different events, want %d", len(list), want)
	}
	var total uint64
	for _, e := range list {
		total += e.Count
	}
	if total != 100_000 {
		t.Errorf("%d events in all, want 100000", total)
	}
	dropped := slices.DeleteFunc(slices.Clone(list), func(e gpu.Event) bool {
		return e.Kind != gpu.EventDropped
	})
	if len(dropped) != 2 {
		t.Fatalf("dropped events %+v, want one for each GPU", dropped)
	}
	if dropped[0].XID != 0 {
		t.Errorf("a dropped event has the XID %d, want none", dropped[0].XID)
	}
}

func TestEventCounterReportsReasonOnce(t *testing.T) {
	counter := newEventCounter()
	for range 3 {
		counter.setNoEvents("out of order")
	}
	counter.add(xidEvent(0, 1))
	m := counter.take()
	if len(m) != 2 || m[0].NoEvents != "out of order" {
		t.Errorf("got %+v, want the reason and an event", m)
	}
	counter.setNoEvents("out of order")
	if m := counter.take(); m != nil {
		t.Errorf("the same reason was reported again: %+v", m)
	}
	counter.setNoEvents("")
	counter.setNoEvents("")
	if m := counter.take(); len(m) != 1 || !m[0].Come || m[0].NoEvents != "" {
		t.Errorf("without a reason, %+v was reported, want once that events come", m)
	}
	counter.setNoEvents("out of order")
	if m := counter.take(); len(m) != 1 {
		t.Errorf("after events came again, got %+v, want the reason", m)
	}
}

// TestEventCounterDelivers checks that the first event is delivered at once, and that those that
// follow it are delivered together.
func TestEventCounterDelivers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, stop := context.WithCancel(t.Context())
		counter := newEventCounter()
		var out lockedBuffer
		go counter.deliver(ctx, &out)
		counter.add(xidEvent(0, 79))
		synctest.Wait()
		if list := readEvents(t, &out); len(list) != 1 || list[0].Count != 1 {
			t.Errorf("delivered at once: %+v, want one event", list)
		}
		for range 1000 {
			counter.add(xidEvent(0, 79))
			synctest.Wait()
		}
		if list := readEvents(t, &out); len(list) != 0 {
			t.Errorf("delivered within the pause: %+v, want nothing", list)
		}
		sleep(ctx, deliveryPause)
		synctest.Wait()
		if list := readEvents(t, &out); len(list) != 1 || list[0].Count != 1000 {
			t.Errorf("delivered after the pause: %+v, want one event 1000 times", list)
		}
		stop()
		synctest.Wait()
	})
}

// TestEventCounterWithStuckReader adds events while nobody reads.
func TestEventCounterWithStuckReader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		counter := newEventCounter()
		read, write := io.Pipe()
		failed := make(chan error)
		go func() { failed <- counter.deliver(t.Context(), write) }()
		for i := range 100_000 {
			counter.add(xidEvent(i%8, 31))
		}
		synctest.Wait()
		if n := len(counter.counts); n > 8 {
			t.Errorf("%d different events are kept, want at most 8", n)
		}
		read.Close()
		if err := <-failed; !errors.Is(err, io.ErrClosedPipe) {
			t.Errorf("delivery ended with %v, want io.ErrClosedPipe", err)
		}
	})
}

// lockedBuffer is a buffer that is written and read by different goroutines.
type lockedBuffer struct {
	mu     sync.Mutex
	buffer bytes.Buffer
}

func (b *lockedBuffer) Write(data []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buffer.Write(data)
}

func (b *lockedBuffer) Read(data []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buffer.Read(data)
}

// readEvents reads the delivered events up to the end of the stream.
func readEvents(t *testing.T, from io.Reader) []gpu.Event {
	t.Helper()
	var list []gpu.Event
	for {
		message, err := readFrame(from)
		if err != nil {
			return list
		}
		var m eventMessage
		if err := json.Unmarshal(message, &m); err != nil || m.Event == nil {
			t.Fatalf("the message %s is not an event: %v", message, err)
		}
		list = append(list, *m.Event)
	}
}
