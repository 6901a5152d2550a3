package probe

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

const (
	// eventWait is how long one wait for an event lasts: after it, a change of the GPUs is noticed.
	eventWait = 200 * time.Millisecond
	// eventStuck is when a call that should be back after eventWait is said to hang.
	eventStuck = 30 * time.Second
)

// feed is where the event loop finds what to listen to, while the Probe's lock may be held by a call that hangs.
type feed struct {
	mu      sync.Mutex
	source  eventSource
	why     string        // there is no source
	changed chan struct{} // closed at the next change
}

// set makes a source the one to listen to.
func (f *feed) set(source eventSource, why string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.source == source && f.why == why {
		return
	}
	f.source, f.why = source, why
	if f.changed != nil {
		close(f.changed)
		f.changed = nil
	}
}

func (f *feed) get() (source eventSource, why string, changed <-chan struct{}) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.changed == nil {
		f.changed = make(chan struct{})
	}
	return f.source, f.why, f.changed
}

// errNoEvents means that the source has none and never will.
var errNoEvents = errors.New("no GPU has events")

// watch counts the events of the feed until ctx ends. Whatever fails is tried again, at growing intervals.
func watch(ctx context.Context, f *feed, t *tally) {
	failures := 0
	for ctx.Err() == nil {
		source, why, changed := f.get()
		err := errNoEvents
		if source != nil {
			err = listen(ctx, source, changed, t)
		} else {
			t.silent(why)
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
			t.silent(err.Error())
			failures++
			pause(ctx, pauseAfter(failures+1)) // at least one firstPause: this is no place for a busy loop
		}
	}
}

// listen counts one source's events until another takes its place.
func listen(ctx context.Context, source eventSource, changed <-chan struct{}, t *tally) error {
	alarm := time.AfterFunc(eventStuck, func() {
		t.silent(fmt.Sprintf("NVML has not come back for %v from listening for events", eventStuck))
	})
	defer alarm.Stop()
	set, silent, err := source.register()
	if err != nil {
		return err
	}
	if set == nil {
		t.silent(silent)
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
		t.silent(silent) // not before: what fails each time shall not be news each time
		if ok {
			t.add(e)
			continue
		}
		// NVML may time out early. If it always does, this must not become a busy loop.
		pause(ctx, eventWait/2-time.Since(begin))
	}
	return nil
}
