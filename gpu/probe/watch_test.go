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

// cannedEvents is a source whose sets give what next says.
type cannedEvents struct {
	registered, freed, waits int
	silent                   string
	empty                    bool
	err                      error
	next                     func(wait int) (gpu.Event, bool, error)
}

func (c *cannedEvents) register() (eventWaiter, string, error) {
	c.registered++
	if c.err != nil || c.empty {
		return nil, c.silent, c.err
	}
	return c, c.silent, nil
}

func (c *cannedEvents) free() { c.freed++ }

func (c *cannedEvents) wait(limit time.Duration) (gpu.Event, bool, error) {
	c.waits++
	return c.next(c.waits)
}

// timesOut waits as NVML does.
func timesOut(int) (gpu.Event, bool, error) {
	pause(context.Background(), eventWait)
	return gpu.Event{}, false, nil
}

// watching runs the loop for a virtual while.
func watching(t *testing.T, during func(f *feed, sum *tally)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		ctx, stop := context.WithCancel(t.Context())
		var f feed
		sum, ended := newTally(), make(chan struct{})
		go func() {
			watch(ctx, &f, sum)
			close(ended)
		}()
		synctest.Wait()
		during(&f, sum)
		stop()
		<-ended
	})
}

func virtually(d time.Duration) {
	pause(context.Background(), d)
	synctest.Wait()
}

func reasons(sum *tally) (list []string) {
	for _, m := range sum.take() {
		if m.NoEvents != "" {
			list = append(list, m.NoEvents)
		}
	}
	return list
}

func TestWatch(t *testing.T) {
	first := &cannedEvents{next: func(wait int) (gpu.Event, bool, error) {
		if wait <= 3 {
			return xidOf(0, 13), true, nil
		}
		return timesOut(wait)
	}}
	second := &cannedEvents{next: timesOut}
	watching(t, func(f *feed, sum *tally) {
		f.set(nil, "no NVML yet")
		synctest.Wait()
		if r := reasons(sum); len(r) != 1 || r[0] != "no NVML yet" {
			t.Errorf("without a source: %q", r)
		}
		f.set(first, "")
		virtually(time.Minute)
		if list := taken(sum); len(list) != 1 || list[0].Count != 3 || first.registered != 1 {
			t.Errorf("%+v, registered %d times", list, first.registered)
		}
		f.set(first, "")
		f.set(second, "")
		virtually(time.Second)
		if first.freed != 1 || second.registered != 1 {
			t.Errorf("after a change: freed %d times, registered %d times", first.freed, second.registered)
		}
	})
	if second.freed != 1 {
		t.Errorf("at the end: freed %d times", second.freed)
	}
}

// TestWatchFailures has a source that never works: it is tried ever less often, and the reason is told once.
func TestWatchFailures(t *testing.T) {
	broken := errors.New("out of order")
	for name, source := range map[string]*cannedEvents{
		"register": {err: broken},
		"wait":     {next: func(int) (gpu.Event, bool, error) { return gpu.Event{}, false, broken }},
	} {
		watching(t, func(f *feed, sum *tally) {
			f.set(source, "")
			told := 0
			for range 24 * 60 {
				virtually(time.Minute)
				told += len(reasons(sum))
			}
			day := int(24 * time.Hour / longestPause)
			if source.registered < day || source.registered > day+10 {
				t.Errorf("%s: tried %d times a day", name, source.registered)
			}
			if told != 1 || sum.why != "out of order" {
				t.Errorf("%s: told %d times", name, told)
			}
		})
	}
}

// TestWatchWithoutEvents asks once and waits for other GPUs.
func TestWatchWithoutEvents(t *testing.T) {
	none := &cannedEvents{empty: true, silent: "no events come from GPU 0 (not supported)"}
	watching(t, func(f *feed, sum *tally) {
		f.set(none, "")
		virtually(24 * time.Hour)
		if r := reasons(sum); none.registered != 1 || len(r) != 1 || r[0] != none.silent {
			t.Errorf("registered %d times, told %q", none.registered, r)
		}
	})
}

// TestWatchTimesOutEarly has an NVML that does not wait. The loop must not spin.
func TestWatchTimesOutEarly(t *testing.T) {
	hasty := &cannedEvents{next: func(int) (gpu.Event, bool, error) { return gpu.Event{}, false, nil }}
	watching(t, func(f *feed, sum *tally) {
		f.set(hasty, "")
		virtually(time.Minute)
		if most := int(time.Minute / (eventWait / 2)); hasty.waits > most+1 || hasty.waits < most-1 {
			t.Errorf("%d waits a minute, want %d", hasty.waits, most)
		}
	})
}

func TestWatchHangs(t *testing.T) {
	stuck := make(chan struct{})
	hanging := &cannedEvents{next: func(int) (gpu.Event, bool, error) {
		<-stuck
		return gpu.Event{}, false, errors.New("back")
	}}
	watching(t, func(f *feed, sum *tally) {
		stuck = make(chan struct{})
		f.set(hanging, "")
		virtually(eventStuck - time.Millisecond)
		if r := reasons(sum); len(r) != 0 {
			t.Errorf("too early: %q", r)
		}
		virtually(time.Millisecond)
		if r := reasons(sum); len(r) != 1 || !strings.Contains(r[0], "has not come back for 30s") {
			t.Errorf("got %q", r)
		}
		close(stuck)
		virtually(time.Millisecond)
	})
}
