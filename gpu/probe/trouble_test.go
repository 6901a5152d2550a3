//go:build linux && !nonvml

package probe

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gpulaunch/gpulaunch/gpu/nvml/nvmltest"
)

// eventFunctions returns the library's functions that are called only to listen for events. They
// include those that end one event set and begin another.
func eventFunctions(t *testing.T, m nvmltest.Machine, others []string) []string {
	t.Helper()
	m.LogCalls = true
	o := install(t, m)
	c, _ := listeningClient(t, o)
	mustSample(t, c)
	awaitCall(t, o, 1, "nvmlEventSetWait_v2")
	changeDeviceCount(t, o, m, 5)
	mustSample(t, c)
	awaitCall(t, o, 2, "nvmlEventSetCreate")
	functions := nvmltest.Functions(nvmltest.Calls(t, o.Library))
	return slices.DeleteFunc(functions, func(f string) bool { return slices.Contains(others, f) })
}

// TestTroubleInEachEventFunction makes each function hang, crash or abort. Samples still come,
// though not always from the first child. Once the library works again, events come again.
func TestTroubleInEachEventFunction(t *testing.T) {
	m := eightGPUs().MIG(1)
	inventory, onlySample := functionsCalled(t, m)
	functions := eventFunctions(t, m, slices.Concat(inventory, onlySample))
	if len(functions) < 5 {
		t.Fatalf("only %d functions are about events: %v", len(functions), functions)
	}
	for trouble, action := range map[string]nvmltest.Action{
		"hang": nvmltest.Hang, "segfault": nvmltest.Segfault, "abort": nvmltest.Abort,
	} {
		for _, function := range functions {
			t.Run(trouble+" "+function, func(t *testing.T) {
				t.Parallel()
				troubled := m.With(action.In(function))
				troubled.LogCalls = true
				o := install(t, troubled)
				c, r := listeningClient(t, o)
				if trouble == "hang" {
					hangInEvents(t, c, o, troubled, function)
				} else {
					dieInEvents(t, c, o, troubled)
					const want = "3 GPU probes in a row ended while they listened"
					if reason := r.nextReason(t); !strings.Contains(reason, want) {
						t.Errorf("the reason %q does not contain %q", reason, want)
					}
				}
				nvmltest.Change(t, o.Library, m.WithEvents(nvmltest.XID(3, 79)))
				// Events come again after a child that hangs was replaced, or after a child that
				// does not listen tries to.
				if trouble == "hang" {
					c.child.cmd.Process.Kill()
					<-c.child.done
				}
				for range answersBeforeListening + 1 {
					mustSample(t, c)
				}
				next := r.nextEvent
				if trouble != "hang" {
					next = r.nextEventAgain
				}
				if e := next(t); e.XID != 79 {
					t.Errorf("after the repair came %+v, want XID 79", e)
				}
			})
		}
	}
}

// changeDeviceCount changes how many GPUs there are. The current event set is then freed.
func changeDeviceCount(t *testing.T, o Options, m nvmltest.Machine, n int) {
	t.Helper()
	m.Devices = m.Devices[:n]
	nvmltest.Change(t, o.Library, m)
}

// hangInEvents checks that one child gives every answer while it hangs in a function.
func hangInEvents(t *testing.T, c *Client, o Options, m nvmltest.Machine, function string) {
	t.Helper()
	mustSample(t, c)
	if function == "nvmlEventSetFree" { // called when the GPUs change
		awaitCall(t, o, 1, "nvmlEventSetWait_v2")
	}
	changeDeviceCount(t, o, m, 5)
	mustSample(t, c)
	awaitCall(t, o, 1, function)
	pid := c.child.pid()
	for range 10 {
		mustSample(t, c)
	}
	if c.child.pid() != pid {
		t.Error("the child was replaced although it hangs only while it listens")
	}
}

// dieInEvents asks until the children no longer listen. Each question is answered, or fails
// because the child died.
func dieInEvents(t *testing.T, c *Client, o Options, m nvmltest.Machine) {
	t.Helper()
	for n := 5; c.listenerDeaths < listenerDeathsLimit; n = 13 - n {
		_, err := c.Sample(within(t, long))
		if err != nil && !strings.Contains(err.Error(), "died: ") {
			t.Fatalf("the sample failed with %v, want the death of the child", err)
		}
		c.backoff.reset()
		changeDeviceCount(t, o, m, n)
	}
	for range 3 {
		mustSample(t, c)
	}
}

// TestLateSamplesDoNotStopListening checks two things. If children are late whether they listen
// or not, they go on listening. And a caller that wants no samples is not delayed by a library
// that hangs in sampling.
func TestLateSamplesDoNotStopListening(t *testing.T) {
	m := eightGPUs().With(nvmltest.Hang.In("nvmlDeviceGetUtilizationRates"))
	o := install(t, m)
	c, r := listeningClient(t, o)
	for range listenerDeathsLimit + 1 { // the last child does not listen
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		_, err := c.Sample(ctx)
		cancel()
		if err == nil {
			t.Fatal("a sample came although the library hangs")
		}
		c.backoff.reset()
		<-c.child.done
	}
	r.nextReason(t)
	nvmltest.Change(t, o.Library, m.WithEvents(nvmltest.XID(3, 79)))
	if err := c.Listen(within(t, long)); err != nil {
		t.Fatal(err)
	}
	if e := r.nextEventAgain(t); e.XID != 79 {
		t.Errorf("got %+v, want XID 79", e)
	}
}
