package probe

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/gpulaunch/gpulaunch/gpu"
)

const (
	// eventWait is how long one wait for an event lasts. A change of the GPUs is noticed between
	// two waits.
	eventWait = 200 * time.Millisecond
	// eventStuck is after how long a call that should return within eventWait is reported to
	// hang.
	eventStuck = 30 * time.Second
)

// eventFeed holds the source of events for the event loop. It has a lock of its own because a call
// that hangs may hold the lock of the localProbe.
type eventFeed struct {
	mu      sync.Mutex
	source  eventSource
	reason  string        // why there is no source
	changed chan struct{} // closed at the next change
}

// set makes source the one to listen to. If there is none, reason says why.
func (f *eventFeed) set(source eventSource, reason string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.source == source && f.reason == reason {
		return
	}
	f.source, f.reason = source, reason
	if f.changed != nil {
		close(f.changed)
		f.changed = nil
	}
}

// get returns the source, or the reason why there is none, and a channel that is closed as soon
// as either changes.
func (f *eventFeed) get() (source eventSource, reason string, changed <-chan struct{}) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.changed == nil {
		f.changed = make(chan struct{})
	}
	return f.source, f.reason, f.changed
}

// errNoEvents means that a source has no events and never will have any.
var errNoEvents = errors.New("no GPU has events")

// runEventLoop counts the events of the feed's source until ctx ends. After a failure it tries
// again, at growing intervals.
func runEventLoop(ctx context.Context, f *eventFeed, counter *eventCounter) {
	failures := 0
	for ctx.Err() == nil {
		source, reason, changed := f.get()
		err := errNoEvents
		if source != nil {
			err = countEvents(ctx, source, changed, counter)
		} else if reason != "" { // otherwise nothing is known yet
			counter.setNoEvents(reason)
		}
		switch {
		case err == nil:
			failures = 0
		case errors.Is(err, errNoEvents):
			select {
			case <-changed:
			case <-ctx.Done():
			}
		default:
			counter.setNoEvents(err.Error())
			failures++
			// One failure more than there was, since the first retry must not come at once.
			sleep(ctx, pauseAfter(failures+1))
		}
	}
}

// describeStuck says that listening for events hangs, and in which call.
func describeStuck() string {
	if function, since, ok := runningCall(); ok {
		return (&gpu.HangError{Call: function, For: time.Since(since)}).Error()
	}
	return fmt.Sprintf("NVML has not come back for %v from listening for events", eventStuck)
}

// countEvents counts one source's events until changed is closed, ctx ends or NVML fails.
func countEvents(
	ctx context.Context, source eventSource, changed <-chan struct{}, counter *eventCounter,
) error {
	alarm := time.AfterFunc(eventStuck, func() {
		counter.setNoEvents(describeStuck())
	})
	defer alarm.Stop()
	set, without, err := source.register()
	if err != nil {
		return err
	}
	if set == nil {
		counter.setNoEvents(without)
		return errNoEvents
	}
	defer set.free()
	for ctx.Err() == nil {
		select {
		case <-changed:
			return nil
		default:
		}
		alarm.Reset(eventStuck)
		begin := time.Now()
		e, ok, err := set.wait(eventWait)
		if err != nil {
			return err
		}
		// Set only after a successful wait: otherwise a source whose waits always fail would
		// alternate between two reasons, and each of them would be reported again and again.
		counter.setNoEvents(without)
		if ok {
			counter.add(e)
			continue
		}
		// NVML may time out early. If it always does, this must not become a busy loop.
		sleep(ctx, eventWait/2-time.Since(begin))
	}
	return nil
}
