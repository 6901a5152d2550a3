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

// short is a deadline that a child that hangs always misses. No test needs it to be long enough.
const short = 50 * time.Millisecond

// newTestClient returns a client whose child is this test binary in the given mode.
func newTestClient(t testing.TB, mode string, env ...string) *Client {
	t.Helper()
	c := NewClient([]string{os.Args[0]})
	// Under the race detector a child would take a second to exit.
	c.Env = append(os.Environ(), "GORACE=atexit_sleep_ms=0", childMode+"="+mode)
	c.Env = append(c.Env, env...)
	t.Cleanup(c.Close)
	return c
}

// within returns a context that ends after d, and with the test.
func within(t testing.TB, d time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), d)
	t.Cleanup(cancel)
	return ctx
}

// checkError fails the test unless err is one line that contains part.
func checkError(t *testing.T, err error, part string) {
	t.Helper()
	if err == nil {
		t.Errorf("no error, want one with %q", part)
		return
	}
	if !strings.Contains(err.Error(), part) {
		t.Errorf("the error %q does not contain %q", err, part)
	}
	if strings.Contains(err.Error(), "\n") {
		t.Errorf("the error %q is not one line", err)
	}
}

func TestClientAsks(t *testing.T) {
	c := newTestClient(t, childCanned)
	first, err := c.Inventory(within(t, long))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(gputest.Inventory(2).Devices, first.Devices); diff != "" {
		t.Errorf("devices (-want +got):\n%s", diff)
	}
	sample, err := c.Sample(within(t, long))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(cannedProbe{}.Sample(), sample); diff != "" {
		t.Errorf("sample (-want +got):\n%s", diff)
	}
	second, err := c.Inventory(within(t, long))
	if err != nil {
		t.Fatal(err)
	}
	if second.Reason != first.Reason {
		t.Errorf("the answers came from %s and %s, want one process", first.Reason, second.Reason)
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
			t.Errorf("the output does not contain %q", part)
		}
	}
}

// TestClientDeadline has a control that shows that the child really hangs: without a deadline,
// the same question is still open when the short deadline is over.
func TestClientDeadline(t *testing.T) {
	c, control := newTestClient(t, childHang), newTestClient(t, childHang)
	patient, giveUp := context.WithCancel(context.Background())
	answered := make(chan error, 1)
	go func() {
		_, err := control.Inventory(patient)
		answered <- err
	}()
	if _, err := c.Inventory(within(t, short)); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("the error is %v, want context.DeadlineExceeded", err)
	}
	select {
	case err := <-answered:
		t.Errorf("without a deadline the question was answered: %v", err)
	default:
	}
	giveUp()
	if err := <-answered; !errors.Is(err, context.Canceled) {
		t.Errorf("after giving up, the error is %v, want context.Canceled", err)
	}
	<-c.child.done
	if state := c.child.cmd.ProcessState.String(); state != "signal: killed" {
		t.Errorf("the late child ended by %q, want %q", state, "signal: killed")
	}
}

func TestClientReplacesLateChild(t *testing.T) {
	c := newTestClient(t, childHangLater)
	first, err := c.Inventory(within(t, long))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Inventory(within(t, short)); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("the error is %v, want context.DeadlineExceeded", err)
	}
	<-c.child.done
	second, err := c.Inventory(within(t, long))
	if err != nil {
		t.Fatalf("the replacement gave no answer: %v", err)
	}
	if first.Reason == second.Reason {
		t.Errorf("both answers came from %s, want two processes", first.Reason)
	}
}

// TestClientHasOneStuckChild has a child that was killed and does not exit, like one that is
// stuck in the kernel.
func TestClientHasOneStuckChild(t *testing.T) {
	c := newTestClient(t, childCanned)
	if _, err := c.Inventory(within(t, long)); err != nil {
		t.Fatal(err)
	}
	real := c.child
	c.child = &child{
		cmd: real.cmd, requests: real.requests, replies: real.replies, notes: real.notes,
		killed: true, done: make(chan struct{}), // never closed
	}
	for range 3 {
		_, err := c.Inventory(within(t, long))
		checkError(t, err,
			fmt.Sprintf("(process %d) was killed and has not ended yet", real.pid()))
	}
	c.Close() // gives up on the child
	real.kill()
	<-real.done
}

func TestClientCrash(t *testing.T) {
	c := newTestClient(t, childCrash)
	_, err := c.Inventory(within(t, long))
	checkError(t, err, "the GPU probe died: exit status 2 (panic: out of luck)")

	killed := NewClient([]string{"/bin/sh", "-c", "kill -SEGV $$"})
	defer killed.Close()
	_, err = killed.Sample(within(t, long))
	checkError(t, err, "the GPU probe died: signal: segmentation fault")
}

// TestClientCrashLeavesProcess has a child that dies and leaves a process that holds its output
// open. If that process also held the pipes, the death of the child would go unnoticed.
func TestClientCrashLeavesProcess(t *testing.T) {
	until := filepath.Join(t.TempDir(), "until")
	writeFile(t, until, "")
	lock, err := os.Open(until)
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Close() // the processes exit then
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	c := newTestClient(t, childOrphan, childUntil+"="+until)
	_, err = c.Inventory(within(t, long))
	checkError(t, err, "the GPU probe died: exit status 3")

	leaky := newTestClient(t, childLeaky, childUntil+"="+until)
	if _, err := leaky.Inventory(within(t, 10*short)); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("with inherited pipes the error is %v, want context.DeadlineExceeded", err)
	}
}

func TestClientReplacesCrashedChild(t *testing.T) {
	c := newTestClient(t, childCrash)
	_, err := c.Inventory(within(t, long))
	checkError(t, err, "died")
	c.Env = append(c.Env, childMode+"="+childCanned)
	if _, err := c.Inventory(within(t, long)); err != nil {
		t.Errorf("the replacement gave no answer: %v", err)
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
		checkError(t, err, "died")
	}
	_, err := c.Inventory(within(t, long))
	checkError(t, err, "failed 2 times in a row; it is tried again in")
	if starts != 2 {
		t.Errorf("%d children were started, want 2", starts)
	}
	c.backoff.until = time.Now() // the pause is over
	c.Env = append(c.Env, childMode+"="+childCanned)
	if _, err := c.Inventory(within(t, long)); err != nil {
		t.Errorf("after the pause: %v", err)
	}
	if n := c.backoff.failures; n != 0 {
		t.Errorf("after an answer %d failures are counted, want 0", n)
	}
}

func TestPauseAfter(t *testing.T) {
	for failures, want := range map[int]time.Duration{
		0: 0, 1: 0, 2: time.Second, 3: 2 * time.Second, 5: 8 * time.Second, 1000: time.Minute,
	} {
		if got := pauseAfter(failures); got != want {
			t.Errorf("after %d failures the pause is %v, want %v", failures, got, want)
		}
	}
}

func TestClientBrokenAnswers(t *testing.T) {
	c := newTestClient(t, childGarbage)
	_, err := c.Inventory(within(t, long))
	checkError(t, err, "over the limit")
	c = newTestClient(t, childNotJSON)
	_, err = c.Inventory(within(t, long))
	checkError(t, err, "not JSON")
	for _, test := range []struct {
		argv []string
		want string
	}{
		{[]string{"/bin/true"}, "died: exit status 0"},
		{[]string{"/nonexistent"}, "cannot start the GPU probe"},
		{nil, "no command"},
	} {
		c := NewClient(test.argv)
		defer c.Close()
		_, err := c.Inventory(within(t, long))
		checkError(t, err, test.want)
	}
}

func TestClientClose(t *testing.T) {
	NewClient(nil).Close() // never used
	for mode, want := range map[string]string{
		childCanned: "exit status 0", childStubborn: "signal: killed",
	} {
		c := newTestClient(t, mode)
		if _, err := c.Inventory(within(t, long)); err != nil {
			t.Fatal(err)
		}
		last := c.child
		c.Close()
		<-last.done
		if state := last.cmd.ProcessState.String(); state != want {
			t.Errorf("%s: the child ended by %q, want %q", mode, state, want)
		}
		if _, err := c.Inventory(within(t, long)); !errors.Is(err, errClosed) {
			t.Errorf("%s: asking a closed client gives %v, want errClosed", mode, err)
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
	for range 2 { // one asks, the other one waits for its turn
		go func() {
			_, err := c.Inventory(context.Background())
			result <- err
		}()
	}
	<-started
	c.Close()
	for range 2 {
		if err := <-result; !errors.Is(err, errClosed) {
			t.Errorf("an interrupted question ended with %v, want errClosed", err)
		}
	}
}

func TestServeChildWithoutClient(t *testing.T) {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childMode+"="+childReal)
	output, err := cmd.CombinedOutput()
	if err == nil {
		t.Error("the child did not fail")
	}
	if want := "file descriptor 3 is not a pipe"; !strings.Contains(string(output), want) {
		t.Errorf("the output %q does not contain %q", output, want)
	}
}
