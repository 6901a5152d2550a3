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
	// distinctEventsLimit is how many different events are kept apart between two deliveries.
	// Beyond it, the events of a GPU are only counted.
	distinctEventsLimit = 256
	// deliveryPause is the time between two deliveries. Equal events that happen in the meantime
	// are delivered as one, with their number.
	deliveryPause = 100 * time.Millisecond
)

// eventCounter counts events until they are delivered. A burst of events or a slow reader
// therefore takes no memory and does not delay the goroutine that waits for the next event.
type eventCounter struct {
	mu             sync.Mutex
	counts         map[gpu.Event]*gpu.Event // the key is the event without its time and count
	order          []*gpu.Event             // the values of counts, the oldest first
	noEventsReason string                   // why no events come, "" if they do
	reasonPending  bool                     // noEventsReason has not been delivered yet
	come           bool                     // events come
	comePending    bool                     // that has not been delivered yet
	wake           chan struct{}            // holds a token when there is something to deliver
}

func newEventCounter() *eventCounter {
	return &eventCounter{counts: map[gpu.Event]*gpu.Event{}, wake: make(chan struct{}, 1)}
}

// add counts an event. It never blocks.
func (c *eventCounter) add(e gpu.Event) {
	c.mu.Lock()
	defer c.mu.Unlock()
	key := e
	key.Time, key.Count = time.Time{}, 0
	if c.counts[key] == nil && len(c.counts) >= distinctEventsLimit {
		key = gpu.Event{UUID: e.UUID, Index: e.Index, Kind: gpu.EventDropped}
	}
	sum := c.counts[key]
	if sum == nil {
		sum = &gpu.Event{}
		*sum = key
		sum.Time = e.Time
		c.counts[key] = sum
		c.order = append(c.order, sum)
	}
	sum.Count += e.Count
	c.requestDelivery()
}

// setNoEvents records why no events come, or with "" that they come. It is delivered only if it
// differs from what was known before, which is nothing at first.
func (c *eventCounter) setNoEvents(reason string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if reason == c.noEventsReason && c.come == (reason == "") {
		return
	}
	c.noEventsReason, c.reasonPending = reason, reason != ""
	c.come, c.comePending = reason == "", reason == ""
	c.requestDelivery()
}

func (c *eventCounter) requestDelivery() {
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// take returns what there is to deliver, and forgets it.
func (c *eventCounter) take() []eventMessage {
	c.mu.Lock()
	defer c.mu.Unlock()
	var messages []eventMessage
	if c.reasonPending {
		messages = append(messages, eventMessage{NoEvents: c.noEventsReason})
	}
	if c.comePending {
		messages = append(messages, eventMessage{Come: true})
	}
	for _, e := range c.order {
		messages = append(messages, eventMessage{Event: e})
	}
	c.reasonPending, c.comePending, c.order = false, false, nil
	clear(c.counts)
	return messages
}

// deliver writes what was counted, as frames, until ctx ends or the reader has closed its end.
func (c *eventCounter) deliver(ctx context.Context, to io.Writer) error {
	for {
		select {
		case <-c.wake:
		case <-ctx.Done():
			return nil
		}
		for _, m := range c.take() {
			message, err := json.Marshal(m)
			if err != nil {
				return err
			}
			if err := writeFrame(to, message); err != nil {
				return err
			}
		}
		sleep(ctx, deliveryPause)
	}
}

// sleep waits for a duration or until ctx ends.
func sleep(ctx context.Context, d time.Duration) {
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
