package probe

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"sync"
	"syscall"
	"time"

	"github.com/gpulaunch/gpulaunch/gpu"
)

// endBound is how long the end of a child is waited for where its end is to be expected: after it closed its pipe,
// after it was told to end, after it was killed. One that is stuck in the kernel takes longer than any bound.
const endBound = 500 * time.Millisecond

// Client asks a child process that keeps NVML open, so that an NVML that hangs or crashes takes the child with it and
// nothing else. The child is started at the first question. One that does not answer in time is killed; one that died
// is replaced at the next question. Replacements that fail again come at growing intervals, and none comes while the
// one before it has not ended, so no more than one process is ever stuck in a driver.
//
// The fields are set before the first call and left alone after it. Methods may be called from several goroutines;
// questions are asked one by one.
type Client struct {
	// Argv is the command that runs [ServeChild]: this program and its hidden subcommand, options included.
	Argv []string
	// Env is the child's environment; nil is this process's.
	Env []string
	// Start starts the command, (*exec.Cmd).Start when nil. It is the place for SysProcAttr and for the thread that
	// is to be the parent.
	Start func(*exec.Cmd) error
	// Ended, if set, is called once for each started command, after it has been waited for.
	Ended func(*exec.Cmd)
	// Stderr receives what the child prints on its standard output and error; nil discards it.
	Stderr io.Writer
	// OnEvent, if set, is called for what happens to GPUs after the first question, one call at a time, in a goroutine
	// of its own. It has to return before long: meanwhile events are only counted. A call that is under way when Close
	// is called may end after it. A replaced child listens anew, and what happened between the two is lost.
	OnEvent func(gpu.Event)
	// OnNoEvents, if set, is called in the same way with one line that says why no events come, or not from all GPUs.
	// The same reason is told once.
	OnNoEvents func(reason string)

	once   sync.Once
	turn   chan struct{}      // holds a token while a question is under way
	closed context.Context    // done once Close was called
	close  context.CancelFunc // makes it so

	// What the holder of the turn owns.
	child   *child
	backoff backoff
	deaths  int // of children in a row that listened for events and did not live long

	listener listener
}

// NewClient returns a client that runs argv, which has to end up in [ServeChild], when it is first asked something.
func NewClient(argv []string) *Client { return &Client{Argv: argv} }

var errClosed = errors.New("the GPU probe is closed")

func (c *Client) init() {
	c.once.Do(func() {
		c.turn = make(chan struct{}, 1)
		c.closed, c.close = context.WithCancel(context.Background())
	})
}

// Inventory asks the child for the machine's GPUs. The error says in one line why there is no answer; it wraps ctx's
// when that ended first.
func (c *Client) Inventory(ctx context.Context) (gpu.Inventory, error) {
	answer, err := c.ask(ctx, askInventory)
	if err != nil {
		return gpu.Inventory{}, err
	}
	if answer.Inventory == nil {
		return gpu.Inventory{}, errors.New("the GPU probe's answer holds no inventory")
	}
	return *answer.Inventory, nil
}

// Sample asks the child for the figures of this moment. Errors are as for Inventory.
func (c *Client) Sample(ctx context.Context) (gpu.Sample, error) {
	answer, err := c.ask(ctx, askSample)
	if err != nil {
		return gpu.Sample{}, err
	}
	if answer.Sample == nil {
		return gpu.Sample{}, errors.New("the GPU probe's answer holds no sample")
	}
	return *answer.Sample, nil
}

// Listen sees to it that there is a child that listens for events, for those who want no figures. Errors are as for
// Inventory.
func (c *Client) Listen(ctx context.Context) error {
	_, err := c.ask(ctx, askNothing)
	return err
}

// Close ends the child: by closing its pipe or, if that does not end it soon, by a kill. It interrupts a question that
// is under way and comes back within about a second, whatever state the child is in.
func (c *Client) Close() {
	c.init()
	c.close()
	c.turn <- struct{}{}
	defer func() { <-c.turn }()
	c.listener.close()
	if c.child == nil {
		return
	}
	c.child.hangUp()
	if !c.child.endsWithin(context.Background(), endBound) {
		c.child.kill()
		c.child.endsWithin(context.Background(), endBound)
	}
	c.child = nil
}

// ask waits for its turn, has a child, and asks it.
func (c *Client) ask(ctx context.Context, what string) (reply, error) {
	c.init()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(c.closed, func() { cancel(errClosed) })()
	select {
	case c.turn <- struct{}{}:
		defer func() { <-c.turn }()
	case <-ctx.Done():
	}
	if c.closed.Err() != nil { // ctx may not have heard of it yet
		return reply{}, errClosed
	}
	if ctx.Err() != nil {
		return reply{}, unanswered(ctx)
	}
	if err := c.ready(); err != nil {
		return reply{}, err
	}
	c.child.watching = c.child.watching || c.wantsEvents()
	message, err := c.child.roundTrip(ctx, request{Ask: what, Watch: c.child.watching})
	if err != nil {
		return reply{}, c.fail(ctx, err)
	}
	var answer reply
	if err := json.Unmarshal(message, &answer); err != nil {
		return reply{}, c.fail(ctx, fmt.Errorf("which is not JSON: %w", err))
	}
	c.backoff.reset()
	c.answered()
	if answer.Error != "" {
		return reply{}, fmt.Errorf("the GPU probe refused: %s", answer.Error)
	}
	return answer, nil
}

// ready sees to it that there is a child to ask.
func (c *Client) ready() error {
	if c.child != nil && c.child.useless() {
		if !c.child.ended() {
			return fmt.Errorf("the GPU probe (process %d) was killed and has not ended yet; it is probably stuck in the driver",
				c.child.pid())
		}
		c.buried()
	}
	if c.child != nil {
		return nil
	}
	if wait := c.backoff.remaining(); wait > 0 {
		return fmt.Errorf("the GPU probe failed %d times in a row; it is tried again in %v", c.backoff.failures,
			wait.Round(100*time.Millisecond))
	}
	child, err := startChild(c.Argv, c.Env, c.Start, c.Ended, c.Stderr)
	if err != nil {
		c.backoff.failed()
		return fmt.Errorf("the GPU probe cannot be started: %w", err)
	}
	c.child = child
	if c.OnEvent != nil {
		go c.listener.listen(child.events, c.OnEvent, c.OnNoEvents)
	}
	return nil
}

// fail turns a question that went unanswered into an error, and makes sure that this child is asked no more.
func (c *Client) fail(ctx context.Context, err error) error {
	defer c.child.kill()
	if errors.Is(ctx.Err(), context.Canceled) {
		c.child.watching = false // a caller that gave up says nothing about the child
	} else {
		c.backoff.failed()
	}
	if errors.Is(ctx.Err(), context.DeadlineExceeded) && !c.child.watching {
		c.deaths = 0 // it was late without listening, so listening is not what makes them late
	}
	if ctx.Err() != nil {
		return unanswered(ctx)
	}
	// Where the pipe broke the child's end is near, and tells more than the pipe's.
	if !pipeBroke(err) || !c.child.endsWithin(ctx, endBound) {
		return fmt.Errorf("the GPU probe gave a broken answer: %w", err)
	}
	return fmt.Errorf("the GPU probe died: %s", c.child.lastWords())
}

// pipeBroke reports whether an error means that the other end of a pipe was closed.
func pipeBroke(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.EPIPE)
}

// unanswered is the error of a question whose time was up.
func unanswered(ctx context.Context) error {
	if cause := context.Cause(ctx); errors.Is(cause, errClosed) {
		return cause
	}
	return fmt.Errorf("the GPU probe did not answer in time: %w", ctx.Err())
}
