package probe

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gpulaunch/gpulaunch/gpu"
)

// cannedEvents is a source of events that is its own set. Waiting returns what next returns.
type cannedEvents struct {
	registered, freed, waits int // calls

	without string // what register says about GPUs without events
	empty   bool   // register returns no set
	err     error  // register fails
	next    func(wait int) (gpu.Event, bool, error)
}

func (c *cannedEvents) register() (eventWaiter, string, error) {
	c.registered++
	if c.err != nil || c.empty {
		return nil, c.without, c.err
	}
	return c, c.without, nil
}

func (c *cannedEvents) free() { c.freed++ }

func (c *cannedEvents) wait(limit time.Duration) (gpu.Event, bool, error) {
	c.waits++
	return c.next(c.waits)
}

// timeOut waits as long as NVML does when nothing happens.
func timeOut(int) (gpu.Event, bool, error) {
	sleep(context.Background(), eventWait)
	return gpu.Event{}, false, nil
}

// withEventLoop runs the event loop in virtual time while the function runs.
func withEventLoop(t *testing.T, during func(f *eventFeed, counter *eventCounter)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		ctx, stop := context.WithCancel(t.Context())
		var f eventFeed
		counter, ended := newEventCounter(), make(chan struct{})
		go func() {
			runEventLoop(ctx, &f, counter)
			close(ended)
		}()
		synctest.Wait()
		during(&f, counter)
		stop()
		<-ended
	})
}

// advance lets virtual time pass.
func advance(d time.Duration) {
	sleep(context.Background(), d)
	synctest.Wait()
}

func TestEventLoop(t *testing.T) {
	first := &cannedEvents{next: func(wait int) (gpu.Event, bool, error) {
		if wait <= 3 {
			return xidEvent(0, 13), true, nil
		}
		return timeOut(wait)
	}}
	second := &cannedEvents{next: timeOut}
	withEventLoop(t, func(f *eventFeed, counter *eventCounter) {
		f.set(nil, "no NVML yet")
		synctest.Wait()
		if r := takeReasons(counter); len(r) != 1 || r[0] != "no NVML yet" {
			t.Errorf("without a source: reasons %q, want %q", r, "no NVML yet")
		}
		f.set(first, "")
		advance(time.Minute)
		if list := takeEvents(counter); len(list) != 1 || list[0].Count != 3 {
			t.Errorf("events %+v, want one event 3 times", list)
		}
		if first.registered != 1 {
			t.Errorf("the first source was registered %d times, want once", first.registered)
		}
		f.set(first, "")
		f.set(second, "")
		advance(time.Second)
		if first.freed != 1 {
			t.Errorf("the first source was freed %d times, want once", first.freed)
		}
		if second.registered != 1 {
			t.Errorf("the second source was registered %d times, want once", second.registered)
		}
	})
	if second.freed != 1 {
		t.Errorf("at the end the second source was freed %d times, want once", second.freed)
	}
}

// TestEventLoopFailures has a source that never works. It is tried less and less often, and the
// reason is reported once.
func TestEventLoopFailures(t *testing.T) {
	broken := errors.New("out of order")
	failToWait := func(int) (gpu.Event, bool, error) { return gpu.Event{}, false, broken }
	for name, source := range map[string]*cannedEvents{
		"register": {err: broken},
		"wait":     {next: failToWait},
	} {
		withEventLoop(t, func(f *eventFeed, counter *eventCounter) {
			f.set(source, "")
			reported := 0
			for range 24 * 60 {
				advance(time.Minute)
				reported += len(takeReasons(counter))
			}
			day := int(24 * time.Hour / longestPause)
			if n := source.registered; n < day || n > day+10 {
				t.Errorf("%s fails: %d tries a day, want %d to %d", name, n, day, day+10)
			}
			if reported != 1 {
				t.Errorf("%s fails: the reason was reported %d times, want once", name, reported)
			}
			if counter.noEventsReason != "out of order" {
				t.Errorf("%s fails: the reason is %q", name, counter.noEventsReason)
			}
		})
	}
}

// TestEventLoopWithoutEvents checks that a source without events is asked only once.
func TestEventLoopWithoutEvents(t *testing.T) {
	const without = "no events come from GPU 0 (not supported)"
	source := &cannedEvents{empty: true, without: without}
	withEventLoop(t, func(f *eventFeed, counter *eventCounter) {
		f.set(source, "")
		advance(24 * time.Hour)
		if source.registered != 1 {
			t.Errorf("registered %d times, want once", source.registered)
		}
		if r := takeReasons(counter); len(r) != 1 || r[0] != without {
			t.Errorf("reasons %q, want %q", r, without)
		}
	})
}

// TestEventLoopTimesOutEarly has an NVML that does not wait. The loop must not spin.
func TestEventLoopTimesOutEarly(t *testing.T) {
	source := &cannedEvents{next: func(int) (gpu.Event, bool, error) {
		return gpu.Event{}, false, nil
	}}
	withEventLoop(t, func(f *eventFeed, counter *eventCounter) {
		f.set(source, "")
		advance(time.Minute)
		want := int(time.Minute / (eventWait / 2))
		if n := source.waits; n > want+1 || n < want-1 {
			t.Errorf("%d waits a minute, want %d", n, want)
		}
	})
}

func TestEventLoopHangs(t *testing.T) {
	var hang chan struct{}
	source := &cannedEvents{next: func(int) (gpu.Event, bool, error) {
		<-hang
		return gpu.Event{}, false, errors.New("back")
	}}
	withEventLoop(t, func(f *eventFeed, counter *eventCounter) {
		hang = make(chan struct{}) // in here, as synctest requires
		f.set(source, "")
		advance(eventStuck - time.Millisecond)
		if r := takeReasons(counter); len(r) != 0 {
			t.Errorf("too early: reasons %q", r)
		}
		advance(time.Millisecond)
		const want = "has not come back for 30s"
		if r := takeReasons(counter); len(r) != 1 || !strings.Contains(r[0], want) {
			t.Errorf("reasons %q, want one with %q", r, want)
		}
		close(hang)
		advance(time.Millisecond)
	})
}

// TestEventLoopHangIsOver checks that it is said that events come when a hang is over.
func TestEventLoopHangIsOver(t *testing.T) {
	var hang chan struct{}
	source := &cannedEvents{next: func(int) (gpu.Event, bool, error) {
		<-hang
		return gpu.Event{}, false, nil
	}}
	withEventLoop(t, func(f *eventFeed, counter *eventCounter) {
		hang = make(chan struct{})
		f.set(source, "")
		advance(eventStuck)
		if m := counter.take(); len(m) != 1 || m[0].NoEvents == "" || m[0].Come {
			t.Errorf("%+v, want a reason", m)
		}
		close(hang)
		advance(time.Millisecond)
		if m := counter.take(); len(m) != 1 || m[0].NoEvents != "" || !m[0].Come {
			t.Errorf("%+v, want that events come", m)
		}
		advance(time.Minute)
		if m := counter.take(); m != nil {
			t.Errorf("%+v, want nothing more", m)
		}
	})
}
