//go:build linux && !nonvml

package probe

import (
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/gpulaunch/gpulaunch/gpu"
	"github.com/gpulaunch/gpulaunch/gpu/nvml/nvmltest"
)

// heard is what a client was told of events. The channels hold what a test has not taken yet.
type heard struct {
	events  chan gpu.Event
	reasons chan string
}

// listening is a client of a real child that listens for events.
func listening(t testing.TB, o Options) (*Client, heard) {
	t.Helper()
	c := realChild(t, o)
	h := heard{make(chan gpu.Event, 10_000), make(chan string, 100)}
	c.OnEvent = func(e gpu.Event) { h.events <- e }
	c.OnNoEvents = func(reason string) { h.reasons <- reason }
	return c, h
}

// sampled asks for a sample, which has to come.
func sampled(t *testing.T, c *Client) {
	t.Helper()
	if s, err := c.Sample(within(t, long)); err != nil || s.Error != "" {
		t.Fatalf("sample: %v, %s", err, s.Error)
	}
}

// next is the next event, without its time.
func (h heard) next(t *testing.T) gpu.Event {
	t.Helper()
	select {
	case e := <-h.events:
		if e.Time.IsZero() {
			t.Errorf("no time: %+v", e)
		}
		e.Time = gpu.Event{}.Time
		return e
	case r := <-h.reasons:
		t.Fatalf("instead of an event: %s", r)
	case <-within(t, long).Done():
		t.Fatal("no event came")
	}
	return gpu.Event{}
}

func (h heard) reason(t *testing.T) string {
	t.Helper()
	select {
	case r := <-h.reasons:
		return r
	case <-within(t, long).Done():
		t.Fatal("no reason came")
	}
	return ""
}

// called waits until the library has been asked to do something for the nth time.
func called(t *testing.T, o Options, n int, function string) {
	t.Helper()
	ctx := within(t, long)
	for {
		calls := nvmltest.Calls(t, o.Library)
		if len(slices.DeleteFunc(calls, func(call string) bool { return !strings.HasPrefix(call+" ", function+" ") })) >= n {
			return
		}
		if ctx.Err() != nil {
			t.Fatalf("%s was not called %d times", function, n)
		}
		runtime.Gosched()
	}
}

func TestEvents(t *testing.T) {
	m := eight().MIG(2)
	// NVML has an order of its own.
	slices.Reverse(m.Devices)
	uuid := func(i int) string { return m.Devices[7-i].UUID }
	of := func(gpu int, gi, ci uint32) nvmltest.Event {
		e := nvmltest.XID(7-gpu, 31)
		e.GPUInstance, e.ComputeInstance = gi, ci
		return e
	}
	second := m.Devices[5].Instances[2].UUID
	m = m.WithEvents(nvmltest.XID(0, 79), of(2, 9, 1), of(2, 9, nowhere), of(2, 3, 3),
		nvmltest.Event{Device: 4, Type: nvmltest.EventDoubleBitECC, Data: 5, GPUInstance: nowhere, ComputeInstance: nowhere})
	o := installed(t, m)
	c, h := listening(t, o)
	sampled(t, c)
	sums, total := map[gpu.Event]uint64{}, uint64(0)
	for total < 5 { // the two of one kind may come together
		e := h.next(t)
		total += e.Count
		count := e.Count
		e.Count = 0
		sums[e] += count
	}
	for want, count := range map[gpu.Event]uint64{
		{UUID: uuid(7), Index: 7, Kind: gpu.EventXID, XID: 79}:              1,
		{UUID: uuid(2), Index: 2, MIG: second, Kind: gpu.EventXID, XID: 31}: 2,
		{UUID: uuid(2), Index: 2, Kind: gpu.EventXID, XID: 31}:              1,
		{UUID: uuid(3), Index: 3, Kind: gpu.EventDoubleBitECC}:              1,
	} {
		if sums[want] != count {
			t.Errorf("%d of %+v, want %d", sums[want], want, count)
		}
	}
	nvmltest.Change(t, o.Library, m.WithEvents(nvmltest.XID(1, 48)))
	if got, want := h.next(t), (gpu.Event{UUID: uuid(6), Index: 6, Kind: gpu.EventXID, XID: 48, Count: 1}); got != want {
		t.Errorf("later: %+v", got)
	}
}

// TestEventsNotWanted: without OnEvent nothing is registered.
func TestEventsNotWanted(t *testing.T) {
	m := eight().WithEvents(nvmltest.XID(0, 79))
	m.LogCalls = true
	o := installed(t, m)
	c := realChild(t, o)
	sampled(t, c)
	sampled(t, c)
	for _, call := range nvmltest.Calls(t, o.Library) {
		if strings.Contains(call, "Event") {
			t.Errorf("%s was called", call)
		}
	}
}

// TestEventBurst has a burst far beyond what could be passed on one by one, to a listener that is stuck for all of it.
func TestEventBurst(t *testing.T) {
	const burst = 100_000
	storm := nvmltest.XID(3, 94)
	storm.Count = burst
	m := eight().WithEvents(storm, nvmltest.XID(4, 79))
	c, h := listening(t, installed(t, m))
	stuck := make(chan struct{})
	c.OnEvent = func(e gpu.Event) {
		<-stuck
		h.events <- e
	}
	for range 20 {
		sampled(t, c)
	}
	close(stuck)
	var total uint64
	messages := 0
	for {
		e := h.next(t)
		if e.XID == 79 {
			break
		}
		messages++
		total += e.Count
	}
	if total != burst || messages > burst/100 {
		t.Errorf("%d events in %d messages", total, messages)
	}
	t.Logf("%d events in %d messages", total, messages)
}

// TestEventsAfterRestart: the next child registers anew.
func TestEventsAfterRestart(t *testing.T) {
	o := installed(t, eight().WithEvents(nvmltest.XID(0, 79)))
	c, h := listening(t, o)
	sampled(t, c)
	h.next(t)
	c.child.cmd.Process.Kill()
	<-c.child.done
	sampled(t, c)
	if e := h.next(t); e.XID != 79 {
		t.Errorf("after a restart: %+v", e)
	}
}

// TestEventsKeepRegistration: an inventory of the same GPUs must not register anew, which would lose events.
func TestEventsKeepRegistration(t *testing.T) {
	m := eight().MIG(1)
	m.LogCalls = true
	o := installed(t, m)
	c, h := listening(t, o)
	for range 10 {
		if _, err := c.Inventory(within(t, long)); err != nil {
			t.Fatal(err)
		}
		sampled(t, c)
	}
	nvmltest.Change(t, o.Library, m.WithEvents(nvmltest.XID(0, 79)))
	h.next(t)
	sets := 0
	for _, call := range nvmltest.Calls(t, o.Library) {
		if call == "nvmlEventSetCreate" {
			sets++
		}
	}
	if sets != 1 {
		t.Errorf("%d event sets for the same GPUs", sets)
	}
}

func TestEventsAfterDeviceCountChanged(t *testing.T) {
	m := eight()
	whole := m
	m.Devices = m.Devices[:3]
	o := installed(t, m)
	c, h := listening(t, o)
	sampled(t, c)
	nvmltest.Change(t, o.Library, m.WithEvents(nvmltest.XID(2, 13)))
	h.next(t)
	// As the GPU is new, its event can only come after registering anew.
	whole.Events, whole.LogCalls = m.WithEvents(nvmltest.XID(2, 13)).Events, true
	nvmltest.Change(t, o.Library, whole)
	sampled(t, c)
	called(t, o, 1, "nvmlDeviceRegisterEvents 7")
	nvmltest.Change(t, o.Library, whole.WithEvents(nvmltest.XID(7, 14)))
	if e := h.next(t); e.Index != 7 || e.XID != 14 {
		t.Errorf("got %+v", e)
	}
}

// TestNoEvents: the reason is stated, once, and samples come all the same.
func TestNoEvents(t *testing.T) {
	none := eight()
	for i := range none.Devices {
		none.Devices[i].EventTypes = 0
	}
	some := eight().WithDevice(3, func(d *nvmltest.Device) { d.EventTypes = 0 }).LostGPU(5)
	for name, test := range map[string]struct {
		machine nvmltest.Machine
		parts   []string
	}{
		"not supported":     {none, []string{"no events come from GPU 0 (not supported (code 3)), GPU 1"}},
		"some":              {some, []string{"no events come from GPU 3 (not supported (code 3)), GPU 5 (GPU is lost (code 15))"}},
		"no function":       {eight().Without("nvmlEventSetCreate"), []string{"NVML has no events: ", "(code 13)"}},
		"cannot register":   {eight().With(behave("nvmlDeviceRegisterEvents", nvmltest.Fail(999))), []string{"GPU 7 (unknown error (code 999))"}},
		"cannot wait":       {eight().With(behave("nvmlEventSetWait*", nvmltest.Fail(999))), []string{"NVML cannot wait for events: unknown error (code 999)"}},
		"waits for nothing": {eight().With(behave("nvmlEventSetWait*", nvmltest.Fail(0))), []string{"reports one without a type"}},
		"does not start":    {eight().FailsToStart(), []string{"did not start"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c, h := listening(t, installed(t, test.machine))
			c.Sample(within(t, long)) // the one without NVML has an error in it
			reason := h.reason(t)
			for _, part := range test.parts {
				if !strings.Contains(reason, part) || strings.Contains(reason, "\n") {
					t.Errorf("%q, want it to have %q", reason, part)
				}
			}
			for range 20 {
				if _, err := c.Sample(within(t, long)); err != nil {
					t.Error(err)
				}
			}
			// Another child has the same reason.
			c.child.cmd.Process.Kill()
			<-c.child.done
			c.Sample(within(t, long))
			c.Close()
			if len(h.reasons) > 0 {
				t.Errorf("told again: %q", <-h.reasons)
			}
		})
	}
}

func behave(function string, action nvmltest.Action) nvmltest.Behavior {
	return nvmltest.Behavior{Function: function, Device: nvmltest.AllDevices, Action: action}
}

// TestCloseWhileListening: neither a wait under way nor a listener that never comes back holds Close up.
func TestCloseWhileListening(t *testing.T) {
	m := eight().WithEvents(nvmltest.XID(0, 79))
	c, h := listening(t, installed(t, m))
	entered, stuck := make(chan struct{}), make(chan struct{})
	c.OnEvent = func(e gpu.Event) {
		close(entered)
		<-stuck
	}
	sampled(t, c)
	<-entered
	child := c.child
	c.Close()
	<-child.done
	close(stuck)
	if len(h.reasons) > 0 {
		t.Errorf("told %q", <-h.reasons)
	}
}

// TestInstanceOfEvent: an event that could be of several instances is of none.
func TestInstanceOfEvent(t *testing.T) {
	d := gpu.Device{MIGInstances: []gpu.MIGInstance{
		{UUID: "a", GPUInstance: new(1), ComputeInstance: new(0)},
		{UUID: "b", GPUInstance: new(1), ComputeInstance: new(1)},
		{UUID: "c", GPUInstance: new(2), ComputeInstance: new(0)},
		{UUID: "unknown"},
	}}
	for _, test := range []struct {
		gpu, compute uint32
		want         string
	}{{1, 0, "a"}, {1, 1, "b"}, {1, nowhere, ""}, {2, nowhere, "c"}, {2, 1, ""}, {nowhere, nowhere, ""}, {nowhere, 0, ""}} {
		if got := instanceOf(d, test.gpu, test.compute); got != test.want {
			t.Errorf("%d/%d is %q, want %q", test.gpu, test.compute, got, test.want)
		}
	}
}

func TestListenerIsSilentAfterClose(t *testing.T) {
	var l listener
	calls := 0
	l.call(func() { calls++ })
	l.close()
	l.call(func() { calls++ })
	l.tell("why", func(string) { calls++ })
	if calls != 1 {
		t.Errorf("%d calls", calls)
	}
}
