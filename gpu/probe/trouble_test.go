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

// functionsForEvents are the library's functions that are called only to listen for events, the end of one set and the
// beginning of another included.
func functionsForEvents(t *testing.T, m nvmltest.Machine, others []string) []string {
	t.Helper()
	m.LogCalls = true
	o := installed(t, m)
	c, _ := listening(t, o)
	sampled(t, c)
	called(t, o, 1, "nvmlEventSetWait_v2")
	fewer := m
	fewer.Devices = m.Devices[:5]
	nvmltest.Change(t, o.Library, fewer)
	sampled(t, c)
	called(t, o, 2, "nvmlEventSetCreate")
	functions := functionsIn(nvmltest.Calls(t, o.Library))
	return slices.DeleteFunc(functions, func(f string) bool { return slices.Contains(others, f) })
}

// TestTroubleInEachEventFunction makes each of those hang, end by a fault, or abort. Samples come, if not always from the
// first child; and once the library works again, so do events.
func TestTroubleInEachEventFunction(t *testing.T) {
	m := eight().MIG(1)
	inventory, onlySample := functionsCalled(t, m)
	functions := functionsForEvents(t, m, slices.Concat(inventory, onlySample))
	if len(functions) < 5 {
		t.Fatalf("only %v", functions)
	}
	for about, action := range map[string]nvmltest.Action{"hang": nvmltest.Hang, "segfault": nvmltest.Segfault, "abort": nvmltest.Abort} {
		for _, function := range functions {
			t.Run(about+" "+function, func(t *testing.T) {
				t.Parallel()
				troubled := m.With(behave(function, action))
				troubled.LogCalls = true
				o := installed(t, troubled)
				c, h := listening(t, o)
				if about == "hang" {
					hangsInEvents(t, c, o, troubled, function)
				} else {
					diesInEvents(t, c, o, troubled)
					if r := h.reason(t); !strings.Contains(r, "3 GPU probes in a row ended while they listened") {
						t.Errorf("told %q", r)
					}
				}
				nvmltest.Change(t, o.Library, m.WithEvents(nvmltest.XID(3, 79)))
				// A child that hangs has to be replaced for events to come again; one that does not listen tries again.
				if about == "hang" {
					c.child.cmd.Process.Kill()
					<-c.child.done
				}
				for range answersBeforeRetry + 1 {
					sampled(t, c)
				}
				if e := h.next(t); e.XID != 79 {
					t.Errorf("after the repair: %+v", e)
				}
			})
		}
	}
}

// withOtherGPUs changes which GPUs there are, so that the present event set is given back.
func withOtherGPUs(t *testing.T, o Options, m nvmltest.Machine, n int) {
	t.Helper()
	m.Devices = m.Devices[:n]
	nvmltest.Change(t, o.Library, m)
}

// hangsInEvents has one child answer on and on while it hangs in a function.
func hangsInEvents(t *testing.T, c *Client, o Options, m nvmltest.Machine, function string) {
	t.Helper()
	sampled(t, c)
	if function == "nvmlEventSetFree" { // called when the GPUs change
		called(t, o, 1, "nvmlEventSetWait_v2")
	}
	withOtherGPUs(t, o, m, 5)
	sampled(t, c)
	called(t, o, 1, function)
	pid := c.child.pid()
	for range 10 {
		sampled(t, c)
	}
	if c.child.pid() != pid {
		t.Error("a hang while listening cost a child")
	}
}

// diesInEvents asks until no child listens any more. Each question is answered or fails by the child's death.
func diesInEvents(t *testing.T, c *Client, o Options, m nvmltest.Machine) {
	t.Helper()
	for n := 5; c.deaths < deathsTolerated; n = 13 - n {
		if _, err := c.Sample(within(t, long)); err != nil && !strings.Contains(err.Error(), "died: ") {
			t.Fatal(err)
		}
		c.backoff.reset()
		withOtherGPUs(t, o, m, n)
	}
	for range 3 {
		sampled(t, c)
	}
}

// TestLateSamplesAreNotTheListenersFault: when children are late whether they listen or not, they go on listening; and
// those who want no figures are not held up by what hangs in sampling.
func TestLateSamplesAreNotTheListenersFault(t *testing.T) {
	m := eight().With(behave("nvmlDeviceGetUtilizationRates", nvmltest.Hang))
	o := installed(t, m)
	c, h := listening(t, o)
	for range deathsTolerated + 1 { // the last one does not listen
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		_, err := c.Sample(ctx)
		cancel()
		if err == nil {
			t.Fatal("a sample came")
		}
		c.backoff.reset()
		<-c.child.done
	}
	h.reason(t)
	nvmltest.Change(t, o.Library, m.WithEvents(nvmltest.XID(3, 79)))
	if err := c.Listen(within(t, long)); err != nil {
		t.Fatal(err)
	}
	if e := h.next(t); e.XID != 79 {
		t.Errorf("%+v", e)
	}
}
