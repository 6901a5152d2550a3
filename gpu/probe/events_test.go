//go:build linux && !nonvml

package probe

import (
	"slices"
	"strings"
	"testing"

	"github.com/gpulaunch/gpulaunch/gpu"
	"github.com/gpulaunch/gpulaunch/gpu/nvml/nvmltest"
)

// received holds what a client's OnEvent and OnNoEvents were called with.
type received struct {
	events  chan gpu.Event
	reasons chan string
}

// listeningClient returns a client of a real child that listens for events.
func listeningClient(t testing.TB, o Options) (*Client, received) {
	t.Helper()
	c := realChild(t, o)
	r := received{make(chan gpu.Event, 10_000), make(chan string, 100)}
	c.OnEvent = func(e gpu.Event) { r.events <- e }
	c.OnNoEvents = func(reason string) { r.reasons <- reason }
	return c, r
}

// mustSample asks for a sample, which has to come.
func mustSample(t *testing.T, c *Client) {
	t.Helper()
	s, err := c.Sample(within(t, long))
	if err != nil {
		t.Fatalf("no sample: %v", err)
	}
	if s.Error != "" {
		t.Fatalf("the sample has the error %q", s.Error)
	}
}

// nextEvent waits for an event and returns it without its time.
func (r received) nextEvent(t *testing.T) gpu.Event {
	t.Helper()
	return r.next(t, false)
}

// nextEventAgain is nextEvent after a reason why no events come: it is withdrawn first.
func (r received) nextEventAgain(t *testing.T) gpu.Event {
	t.Helper()
	return r.next(t, true)
}

func (r received) next(t *testing.T, withdrawn bool) gpu.Event {
	t.Helper()
	if withdrawn {
		if reason := r.nextReason(t); reason != "" {
			t.Errorf("the reason is not withdrawn, but %q", reason)
		}
	}
	select {
	case e := <-r.events:
		if e.Time.IsZero() {
			t.Errorf("the event has no time: %+v", e)
		}
		e.Time = gpu.Event{}.Time
		return e
	case reason := <-r.reasons:
		t.Fatalf("instead of an event came the reason %q", reason)
	case <-within(t, long).Done():
		t.Fatal("no event came")
	}
	return gpu.Event{}
}

// nextReason waits for a reason why no events come.
func (r received) nextReason(t *testing.T) string {
	t.Helper()
	select {
	case reason := <-r.reasons:
		return reason
	case <-within(t, long).Done():
		t.Fatal("no reason came")
	}
	return ""
}

// awaitCall waits until a function of the library has been called n times.
func awaitCall(t *testing.T, o Options, n int, call string) {
	t.Helper()
	if err := nvmltest.WaitForCall(within(t, long), o.Library, call, n); err != nil {
		t.Fatal(err)
	}
}

func TestEvents(t *testing.T) {
	m := eightGPUs().MIG(2)
	// NVML lists the GPUs in the reverse of the inventory's order.
	slices.Reverse(m.Devices)
	uuid := func(i int) string { return m.Devices[7-i].UUID }
	inInstance := func(index int, gi, ci uint32) nvmltest.Event {
		e := nvmltest.XID(7-index, 31)
		e.GPUInstance, e.ComputeInstance = gi, ci
		return e
	}
	second := m.Devices[5].Instances[2].UUID
	m = m.WithEvents(nvmltest.XID(0, 79),
		inInstance(2, 9, 1), inInstance(2, 9, noInstance), inInstance(2, 3, 3),
		nvmltest.Event{
			Device: 4, Type: nvmltest.EventDoubleBitECC, Data: 5,
			GPUInstance: noInstance, ComputeInstance: noInstance,
		})
	o := install(t, m)
	c, r := listeningClient(t, o)
	mustSample(t, c)
	sums, total := map[gpu.Event]uint64{}, uint64(0)
	for total < 5 { // the two equal events may come together
		e := r.nextEvent(t)
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
			t.Errorf("%+v came %d times, want %d", want, sums[want], count)
		}
	}
	nvmltest.Change(t, o.Library, m.WithEvents(nvmltest.XID(1, 48)))
	want := gpu.Event{UUID: uuid(6), Index: 6, Kind: gpu.EventXID, XID: 48, Count: 1}
	if got := r.nextEvent(t); got != want {
		t.Errorf("later came %+v, want %+v", got, want)
	}
}

// TestEventsNotWanted checks that nothing is registered without OnEvent.
func TestEventsNotWanted(t *testing.T) {
	m := eightGPUs().WithEvents(nvmltest.XID(0, 79))
	m.LogCalls = true
	o := install(t, m)
	c := realChild(t, o)
	mustSample(t, c)
	mustSample(t, c)
	for _, call := range nvmltest.Calls(t, o.Library) {
		about := strings.Contains(call, "Event") && !strings.Contains(call, "ClocksEvent")
		if about {
			t.Errorf("%s was called", call)
		}
	}
}

// TestEventBurst has a burst that is far too large to be passed on event by event, and an OnEvent
// that hangs all the while.
func TestEventBurst(t *testing.T) {
	const burst = 100_000
	storm := nvmltest.XID(3, 94)
	storm.Count = burst
	m := eightGPUs().WithEvents(storm, nvmltest.XID(4, 79))
	c, r := listeningClient(t, install(t, m))
	hang := make(chan struct{})
	c.OnEvent = func(e gpu.Event) {
		<-hang
		r.events <- e
	}
	for range 20 {
		mustSample(t, c)
	}
	close(hang)
	var total uint64
	messages := 0
	for {
		e := r.nextEvent(t)
		if e.XID == 79 {
			break
		}
		messages++
		total += e.Count
	}
	if total != burst {
		t.Errorf("%d events came, want %d", total, burst)
	}
	if messages > burst/100 {
		t.Errorf("they came in %d messages, want at most %d", messages, burst/100)
	}
	t.Logf("%d events in %d messages", total, messages)
}

// TestEventsAfterRestart checks that a new child registers again.
func TestEventsAfterRestart(t *testing.T) {
	o := install(t, eightGPUs().WithEvents(nvmltest.XID(0, 79)))
	c, r := listeningClient(t, o)
	mustSample(t, c)
	r.nextEvent(t)
	c.child.cmd.Process.Kill()
	<-c.child.done
	mustSample(t, c)
	if e := r.nextEvent(t); e.XID != 79 {
		t.Errorf("after the restart came %+v, want XID 79", e)
	}
}

// TestEventsKeepRegistration checks that an inventory of the same GPUs does not register them
// again, because that would lose events.
func TestEventsKeepRegistration(t *testing.T) {
	m := eightGPUs().MIG(1)
	m.LogCalls = true
	o := install(t, m)
	c, r := listeningClient(t, o)
	for range 10 {
		if _, err := c.Inventory(within(t, long)); err != nil {
			t.Fatal(err)
		}
		mustSample(t, c)
	}
	nvmltest.Change(t, o.Library, m.WithEvents(nvmltest.XID(0, 79)))
	r.nextEvent(t)
	sets := 0
	for _, call := range nvmltest.Calls(t, o.Library) {
		if call == "nvmlEventSetCreate" {
			sets++
		}
	}
	if sets != 1 {
		t.Errorf("%d event sets were created for the same GPUs, want 1", sets)
	}
}

func TestEventsAfterDeviceCountChanged(t *testing.T) {
	m := eightGPUs()
	all := m
	m.Devices = m.Devices[:3]
	o := install(t, m)
	c, r := listeningClient(t, o)
	mustSample(t, c)
	nvmltest.Change(t, o.Library, m.WithEvents(nvmltest.XID(2, 13)))
	r.nextEvent(t)
	// GPU 7 is new, so its event can come only after it was registered.
	all.Events, all.LogCalls = m.WithEvents(nvmltest.XID(2, 13)).Events, true
	nvmltest.Change(t, o.Library, all)
	mustSample(t, c)
	awaitCall(t, o, 1, "nvmlDeviceRegisterEvents 7")
	nvmltest.Change(t, o.Library, all.WithEvents(nvmltest.XID(7, 14)))
	if e := r.nextEvent(t); e.Index != 7 || e.XID != 14 {
		t.Errorf("got %+v, want XID 14 of GPU 7", e)
	}
}

// TestNoEvents checks that the reason is reported once, and that samples come all the same.
func TestNoEvents(t *testing.T) {
	withoutEvents := func(d *nvmltest.Device) { d.EventTypes = 0 }
	none := eightGPUs()
	for i := range none.Devices {
		none = none.WithDevice(i, withoutEvents)
	}
	failsFor := func(function string, code int) nvmltest.Machine {
		return eightGPUs().With(nvmltest.Fail(code).In(function))
	}
	for name, test := range map[string]struct {
		machine nvmltest.Machine
		parts   []string // of the reason
	}{
		"not supported": {none,
			[]string{"no events come from GPU 0 (not supported (code 3)), GPU 1"}},
		"not supported by some": {eightGPUs().WithDevice(3, withoutEvents).LostGPU(5),
			[]string{"no events come from GPU 3 (not supported (code 3)), " +
				"GPU 5 (GPU is lost (code 15))"}},
		"no function": {eightGPUs().Without("nvmlEventSetCreate"),
			[]string{"NVML has no events: ", "(code 13)"}},
		"cannot register": {failsFor("nvmlDeviceRegisterEvents", 999),
			[]string{"GPU 7 (unknown error (code 999))"}},
		"cannot wait": {failsFor("nvmlEventSetWait*", 999),
			[]string{"NVML cannot wait for events: unknown error (code 999)"}},
		"events without a type": {failsFor("nvmlEventSetWait*", 0),
			[]string{"reports one without a type"}},
		"does not start": {eightGPUs().FailsToStart(), []string{"cannot start NVML"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c, r := listeningClient(t, install(t, test.machine))
			// Not mustSample: an NVML that does not start gives a sample with an error.
			c.Sample(within(t, long))
			reason := r.nextReason(t)
			for _, part := range test.parts {
				if !strings.Contains(reason, part) {
					t.Errorf("the reason %q does not contain %q", reason, part)
				}
			}
			if strings.Contains(reason, "\n") {
				t.Errorf("the reason %q is not one line", reason)
			}
			for range 20 {
				if _, err := c.Sample(within(t, long)); err != nil {
					t.Error(err)
				}
			}
			// The next child has the same reason.
			c.child.cmd.Process.Kill()
			<-c.child.done
			c.Sample(within(t, long))
			c.Close()
			if len(r.reasons) > 0 {
				t.Errorf("another reason was reported: %q", <-r.reasons)
			}
		})
	}
}

// TestCloseWhileListening checks that neither NVML's wait for an event nor an OnEvent that does
// not return delays Close.
func TestCloseWhileListening(t *testing.T) {
	m := eightGPUs().WithEvents(nvmltest.XID(0, 79))
	c, r := listeningClient(t, install(t, m))
	entered, hang := make(chan struct{}), make(chan struct{})
	c.OnEvent = func(e gpu.Event) {
		close(entered)
		<-hang
	}
	mustSample(t, c)
	<-entered
	child := c.child
	c.Close()
	<-child.done
	close(hang)
	if len(r.reasons) > 0 {
		t.Errorf("a reason was reported: %q", <-r.reasons)
	}
}

// TestInstanceOfEvent checks that an event that could belong to several instances belongs to
// none.
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
	}{
		{1, 0, "a"}, {1, 1, "b"}, {1, noInstance, ""},
		{2, noInstance, "c"}, {2, 1, ""},
		{noInstance, noInstance, ""}, {noInstance, 0, ""},
	} {
		if got := instanceUUID(d, test.gpu, test.compute); got != test.want {
			t.Errorf("the instance %d/%d is %q, want %q", test.gpu, test.compute, got, test.want)
		}
	}
}

func TestListenerIsSilentAfterClose(t *testing.T) {
	var l listener
	calls := 0
	l.call(func() { calls++ })
	l.close()
	l.call(func() { calls++ })
	l.reportNoEvents("why", func(string) { calls++ })
	if calls != 1 {
		t.Errorf("%d calls were made, want only the one before close", calls)
	}
}
