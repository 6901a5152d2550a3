package probe

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/gpulaunch/gpulaunch/gpu/gputest"
)

// long is a deadline that only a broken test reaches.
const long = time.Minute

// short is a deadline that a hanging child is bound to miss. Nothing waits for it to be long enough.
const short = 50 * time.Millisecond

// newTestClient is a client whose child is this test binary in the given mode.
func newTestClient(t testing.TB, mode string, env ...string) *Client {
	t.Helper()
	c := NewClient([]string{os.Args[0]})
	// A child under the race detector would take a second to end.
	c.Env = append(append(os.Environ(), "GORACE=atexit_sleep_ms=0", childMode+"="+mode), env...)
	t.Cleanup(c.Close)
	return c
}

func within(t testing.TB, d time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), d)
	t.Cleanup(cancel)
	return ctx
}

func errorHas(t *testing.T, err error, part string) {
	t.Helper()
	if err == nil || !strings.Contains(err.Error(), part) || strings.Contains(err.Error(), "\n") {
		t.Errorf("error %q, want one line with %q", fmt.Sprint(err), part)
	}
}

func TestClientAsks(t *testing.T) {
	c := newTestClient(t, childCanned)
	first, err := c.Inventory(within(t, long))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(gputest.Inventory(2).Devices, first.Devices); diff != "" {
		t.Error(diff)
	}
	sample, err := c.Sample(within(t, long))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(cannedProbe{}.Sample(), sample); diff != "" {
		t.Error(diff)
	}
	second, err := c.Inventory(within(t, long))
	if err != nil || second.Reason != first.Reason {
		t.Errorf("the second answer came from another process: %q, %q, %v", first.Reason, second.Reason, err)
	}
}

func TestClientFromManyGoroutines(t *testing.T) {
	c := newTestClient(t, childCanned)
	var all sync.WaitGroup
	for range 20 {
		all.Go(func() {
			if _, err := c.Sample(within(t, long)); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
}

func TestClientKeepsAnswersApartFromOutput(t *testing.T) {
	c := newTestClient(t, childChatty)
	var output bytes.Buffer
	c.Stderr = &output
	for range 3 {
		if _, err := c.Inventory(within(t, long)); err != nil {
			t.Fatal(err)
		}
	}
	c.Close()
	for _, part := range []string{"noise on standard output", "noise on standard error"} {
		if !strings.Contains(output.String(), part) {
			t.Errorf("the output lacks %q", part)
		}
	}
}

// TestClientDeadline also shows that the child really hangs: the same question with a longer deadline is still open
// when the short one is long over.
func TestClientDeadline(t *testing.T) {
	c, control := newTestClient(t, childHang), newTestClient(t, childHang)
	patient, giveUp := context.WithCancel(context.Background())
	open := make(chan error, 1)
	go func() {
		_, err := control.Inventory(patient)
		open <- err
	}()
	if _, err := c.Inventory(within(t, short)); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
	select {
	case err := <-open:
		t.Errorf("without a deadline the question was answered: %v", err)
	default:
	}
	giveUp()
	if err := <-open; !errors.Is(err, context.Canceled) {
		t.Errorf("given up: %v", err)
	}
	<-c.child.done // it was killed
	if state := c.child.cmd.ProcessState.String(); state != "signal: killed" {
		t.Errorf("the late child ended by %s", state)
	}
}

func TestClientReplacesLateChild(t *testing.T) {
	c := newTestClient(t, childHangLater)
	first, err := c.Inventory(within(t, long))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Inventory(within(t, short)); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("got %v", err)
	}
	<-c.child.done
	second, err := c.Inventory(within(t, long))
	if err != nil || first.Reason == second.Reason {
		t.Errorf("%q, then %q, %v", first.Reason, second.Reason, err)
	}
}

// TestClientHasOneStuckChild plays an unkillable child: one that was killed and whose end is not seen.
func TestClientHasOneStuckChild(t *testing.T) {
	c := newTestClient(t, childCanned)
	if _, err := c.Inventory(within(t, long)); err != nil {
		t.Fatal(err)
	}
	real := c.child
	stuck := &child{cmd: real.cmd, requests: real.requests, replies: real.replies, notes: real.notes, killed: true, done: make(chan struct{})}
	c.child = stuck
	for range 3 {
		_, err := c.Inventory(within(t, long))
		errorHas(t, err, fmt.Sprintf("(process %d) was killed and has not ended yet", real.pid()))
	}
	c.Close() // leaves it behind
	real.kill()
	<-real.done
}

func TestClientCrash(t *testing.T) {
	c := newTestClient(t, childCrash)
	_, err := c.Inventory(within(t, long))
	errorHas(t, err, "the GPU probe died: exit status 2 (panic: out of luck)")

	bySignal := NewClient([]string{"/bin/sh", "-c", "kill -SEGV $$"})
	defer bySignal.Close()
	_, err = bySignal.Sample(within(t, long))
	errorHas(t, err, "the GPU probe died: signal: segmentation fault")
}

// TestClientCrashLeavesProcess has a child that dies and leaves something behind that holds its output. With the pipes
// as well, its death would go unseen.
func TestClientCrashLeavesProcess(t *testing.T) {
	until := filepath.Join(t.TempDir(), "until")
	writeFile(t, until, "")
	lock, err := os.Open(until)
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Close() // lets them go
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	c := newTestClient(t, childOrphan, childUntil+"="+until)
	_, err = c.Inventory(within(t, long))
	errorHas(t, err, "the GPU probe died: exit status 3")

	leaky := newTestClient(t, childLeaky, childUntil+"="+until)
	if _, err := leaky.Inventory(within(t, 10*short)); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("with the pipes in other hands: %v", err)
	}
}

func TestClientReplacesCrashedChild(t *testing.T) {
	c := newTestClient(t, childCrash)
	_, err := c.Inventory(within(t, long))
	errorHas(t, err, "died")
	c.Env = append(c.Env, childMode+"="+childCanned)
	if _, err := c.Inventory(within(t, long)); err != nil {
		t.Errorf("the replacement: %v", err)
	}
}

func TestClientBacksOff(t *testing.T) {
	c := newTestClient(t, childCrash)
	starts := 0
	c.Start = func(cmd *exec.Cmd) error {
		starts++
		return cmd.Start()
	}
	for range 2 {
		_, err := c.Inventory(within(t, long))
		errorHas(t, err, "died")
	}
	_, err := c.Inventory(within(t, long))
	errorHas(t, err, "failed 2 times in a row; it is tried again in")
	if starts != 2 {
		t.Errorf("%d starts", starts)
	}
	c.backoff.until = time.Now() // the pause is over
	c.Env = append(c.Env, childMode+"="+childCanned)
	if _, err := c.Inventory(within(t, long)); err != nil || c.backoff.failures != 0 {
		t.Errorf("after the pause: %v, %d failures", err, c.backoff.failures)
	}
}

func TestPauses(t *testing.T) {
	for failures, want := range map[int]time.Duration{0: 0, 1: 0, 2: time.Second, 3: 2 * time.Second, 5: 8 * time.Second, 1000: time.Minute} {
		if got := pauseAfter(failures); got != want {
			t.Errorf("%d failures: %v, want %v", failures, got, want)
		}
	}
}

func TestClientBrokenAnswers(t *testing.T) {
	c := newTestClient(t, childGarbage)
	_, err := c.Inventory(within(t, long))
	errorHas(t, err, "over the limit")
	c = newTestClient(t, childNotJSON)
	_, err = c.Inventory(within(t, long))
	errorHas(t, err, "not JSON")
	c = NewClient([]string{"/bin/true"})
	defer c.Close()
	_, err = c.Inventory(within(t, long))
	errorHas(t, err, "died: exit status 0")
	c = NewClient([]string{"/nonexistent"})
	defer c.Close()
	_, err = c.Inventory(within(t, long))
	errorHas(t, err, "cannot be started")
	c = NewClient(nil)
	defer c.Close()
	_, err = c.Inventory(within(t, long))
	errorHas(t, err, "no command")
}

func TestClientClose(t *testing.T) {
	NewClient(nil).Close() // never used
	for _, mode := range []string{childCanned, childStubborn} {
		c := newTestClient(t, mode)
		if _, err := c.Inventory(within(t, long)); err != nil {
			t.Fatal(err)
		}
		last := c.child
		c.Close()
		<-last.done
		want := "exit status 0"
		if mode == childStubborn {
			want = "signal: killed"
		}
		if state := last.cmd.ProcessState.String(); state != want {
			t.Errorf("%s: the child ended by %s, want %s", mode, state, want)
		}
		if _, err := c.Inventory(within(t, long)); !errors.Is(err, errClosed) {
			t.Errorf("%s: a closed client answers: %v", mode, err)
		}
		c.Close()
	}
}

func TestClientCloseInterrupts(t *testing.T) {
	c := newTestClient(t, childHang)
	started := make(chan struct{})
	c.Start = func(cmd *exec.Cmd) error {
		defer close(started)
		return cmd.Start()
	}
	result := make(chan error, 2)
	for range 2 { // one asks, one waits for its turn
		go func() {
			_, err := c.Inventory(context.Background())
			result <- err
		}()
	}
	<-started
	c.Close()
	for range 2 {
		if err := <-result; !errors.Is(err, errClosed) {
			t.Errorf("got %v", err)
		}
	}
}

func TestServeChildOutsideOfClient(t *testing.T) {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childMode+"="+childReal)
	output, err := cmd.CombinedOutput()
	if err == nil || !strings.Contains(string(output), "file descriptor 3 is not a pipe") {
		t.Errorf("%v: %s", err, output)
	}
}
