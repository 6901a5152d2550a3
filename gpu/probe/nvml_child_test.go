//go:build linux && !nonvml

package probe

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/gpulaunch/gpulaunch/gpu"
	"github.com/gpulaunch/gpulaunch/gpu/nvml/nvmltest"
)

// realChild returns a client whose child loads the library of o.
func realChild(t testing.TB, o Options) *Client {
	t.Helper()
	return newTestClient(t, childReal, childLibrary+"="+o.Library, childRoot+"="+o.Root)
}

func TestDiscoverWithRealChild(t *testing.T) {
	o := install(t, eightGPUs().MIG(1).LostGPU(6))
	c := realChild(t, o)
	inv := DiscoverWith(within(t, long), c, o)
	if diff := cmp.Diff(discover(t, o), inv); diff != "" {
		t.Errorf("inventory in this process (-) and in the child (+):\n%s", diff)
	}
	sample, err := c.Sample(within(t, long))
	if err != nil {
		t.Fatal(err)
	}
	here := openProbe(t, o).Sample()
	here.Time = sample.Time
	if diff := cmp.Diff(here, sample); diff != "" {
		t.Errorf("sample in this process (-) and in the child (+):\n%s", diff)
	}
}

// functionsCalled returns the library's functions that an inventory calls, and those that only a
// sample calls.
func functionsCalled(t *testing.T, m nvmltest.Machine) (inventory, onlySample []string) {
	t.Helper()
	m.LogCalls = true
	o := install(t, m)
	p := openProbe(t, o)
	p.Inventory()
	inventory = nvmltest.Functions(nvmltest.Calls(t, o.Library))
	p.Sample()
	onlySample = slices.DeleteFunc(nvmltest.Functions(nvmltest.Calls(t, o.Library)),
		func(f string) bool { return slices.Contains(inventory, f) })
	return inventory, onlySample
}

// TestTroubleInEachFunction makes each function hang, crash or abort. The question that calls it
// then fails in time, and discovery uses the driver's files. Once the library works again, the
// client works again.
func TestTroubleInEachFunction(t *testing.T) {
	m := eightGPUs().MIG(1)
	inventory, onlySample := functionsCalled(t, m)
	if len(inventory) < 15 || len(onlySample) < 5 {
		t.Fatalf("only the functions %v and %v are called", inventory, onlySample)
	}
	diedBy := func(signal string) func(error) bool {
		return func(err error) bool {
			return strings.Contains(err.Error(), "died: ") && strings.Contains(err.Error(), signal)
		}
	}
	for _, trouble := range []struct {
		name      string
		action    nvmltest.Action
		limit     time.Duration
		wantError func(error) bool
	}{
		{"hang", nvmltest.Hang, 100 * time.Millisecond, func(err error) bool {
			return errors.Is(err, context.DeadlineExceeded)
		}},
		{"segfault", nvmltest.Segfault, long, diedBy("SIGSEGV")},
		{"abort", nvmltest.Abort, long, diedBy("SIGABRT")},
	} {
		for _, function := range slices.Concat(inventory, onlySample) {
			t.Run(trouble.name+" "+function, func(t *testing.T) {
				t.Parallel()
				o := install(t, m.With(trouble.action.In(function)))
				c := realChild(t, o)
				ask := func(limit time.Duration) error {
					_, err := c.Inventory(within(t, limit))
					return err
				}
				if slices.Contains(onlySample, function) {
					if err := ask(long); err != nil {
						t.Fatalf("an inventory fails although it does not call it: %v", err)
					}
					ask = func(limit time.Duration) error {
						_, err := c.Sample(within(t, limit))
						return err
					}
				} else {
					inv := DiscoverWith(within(t, trouble.limit), c, o)
					checkReason(t, inv, gpu.SourceDriver, "; using the driver's files")
					<-c.child.done
					c.backoff.reset()
				}
				err := ask(trouble.limit)
				if err == nil {
					t.Fatal("the question was answered")
				}
				if !trouble.wantError(err) {
					t.Fatalf("the question failed with %v", err)
				}
				<-c.child.done
				c.backoff.reset()
				nvmltest.Change(t, o.Library, m)
				if _, err := c.Sample(within(t, long)); err != nil {
					t.Errorf("after the repair: %v", err)
				}
			})
		}
	}
}

// TestHangingCall checks that the error of a question that NVML does not answer says in which call
// NVML hangs, and that the source of an inventory does. go-nvml cannot tell.
func TestHangingCall(t *testing.T) {
	if _, _, ok := runningCall(); ok {
		t.Error("a call is under way before the test")
	}
	for _, function := range []string{"nvmlInitWithFlags", "nvmlDeviceGetUUID"} {
		t.Run(function, func(t *testing.T) {
			t.Parallel()
			o := install(t, eightGPUs().With(nvmltest.Hang.In(function)))
			_, err := realChild(t, o).Sample(within(t, 2*runningPause))
			var hang *gpu.HangError
			if !errors.As(err, &hang) || !errors.Is(err, context.DeadlineExceeded) {
				t.Fatalf("the error is %v", err)
			}
			if hang.Call != hangingCall(function) || hang.For <= 0 {
				t.Errorf("it hangs in %q for %v", hang.Call, hang.For)
			}
			want := "NVML did not answer within 2s"
			if call := hangingCall(function); call != "" {
				want += " (it has not returned from " + call + "); using"
			}
			inv := DiscoverWith(within(t, 2*runningPause), realChild(t, o), o)
			checkReason(t, inv, gpu.SourceDriver, want)
		})
	}
}
