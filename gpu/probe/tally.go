package probe

import (
	"context"
	"encoding/json"
	"io"
	"sync"
	"time"

	"github.com/gpulaunch/gpulaunch/gpu"
)

const (
	// tallyLimit bounds the different events that are kept apart. Behind it a GPU's events are only counted.
	tallyLimit = 256
	// tallyPause is between two deliveries. What comes meanwhile is counted together.
	tallyPause = 100 * time.Millisecond
)

// tally counts events until they are delivered, so that neither a burst nor a slow reader takes memory or holds up who
// waits for the next one.
type tally struct {
	mu     sync.Mutex
	counts map[gpu.Event]*gpu.Event // by the event without time and count
	order  []*gpu.Event
	why    string // no events come
	untold bool
	more   chan struct{} // holds a token when there is something to deliver
}

func newTally() *tally {
	return &tally{counts: map[gpu.Event]*gpu.Event{}, more: make(chan struct{}, 1)}
}

func (t *tally) add(e gpu.Event) {
	t.mu.Lock()
	defer t.mu.Unlock()
	key := e
	key.Time, key.Count = time.Time{}, 0
	if t.counts[key] == nil && len(t.counts) >= tallyLimit {
		key = gpu.Event{UUID: e.UUID, Index: e.Index, Kind: gpu.EventDropped}
	}
	sum := t.counts[key]
	if sum == nil {
		sum = &gpu.Event{}
		*sum = key
		sum.Time = e.Time
		t.counts[key] = sum
		t.order = append(t.order, sum)
	}
	sum.Count += e.Count
	t.wake()
}

// silent notes why no events come, or with "" that they do. The same reason is told once.
func (t *tally) silent(why string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if why == t.why {
		return
	}
	t.why, t.untold = why, why != ""
	t.wake()
}

func (t *tally) wake() {
	select {
	case t.more <- struct{}{}:
	default:
	}
}

// take is what there is to deliver, which is then forgotten.
func (t *tally) take() []eventMessage {
	t.mu.Lock()
	defer t.mu.Unlock()
	var messages []eventMessage
	if t.untold {
		messages = append(messages, eventMessage{NoEvents: t.why})
	}
	for _, e := range t.order {
		messages = append(messages, eventMessage{Event: e})
	}
	t.untold, t.order = false, nil
	clear(t.counts)
	return messages
}

// deliver writes what was counted until ctx ends or the reader is gone.
func (t *tally) deliver(ctx context.Context, to io.Writer) error {
	for {
		select {
		case <-t.more:
		case <-ctx.Done():
			return nil
		}
		for _, m := range t.take() {
			message, err := json.Marshal(m)
			if err != nil {
				return err
			}
			if err := writeFrame(to, message); err != nil {
				return err
			}
		}
		pause(ctx, tallyPause)
	}
}

// pause waits for a while, or for the end of ctx.
func pause(ctx context.Context, d time.Duration) {
	if d <= 0 {
		return
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}
