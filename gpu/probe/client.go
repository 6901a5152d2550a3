package probe

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"sync"
	"syscall"
	"time"

	"github.com/gpulaunch/gpulaunch/gpu"
)

// hangNotice is after how long a call of NVML that has not returned is reported to OnHang. A driver
// that has to initialize its GPUs may take some seconds.
const hangNotice = 5 * time.Second

// exitTimeout is how long the client waits for a child that should exit: because its pipe was
// closed, because it is crashing, or because it was killed. A child that is stuck in the kernel
// may take longer than any timeout.
const exitTimeout = 500 * time.Millisecond

// Client asks a child process about the GPUs. The child keeps NVML open, so an NVML that hangs or
// crashes takes only the child with it.
//
// The child is started at the first question. A child that does not answer in time is killed, and
// a child that died is replaced at the next question. If replacements keep failing, they are
// started at growing intervals. No child is started before the previous one has exited, so at
// most one process is ever stuck in a driver.
//
// Set the fields before the first call and do not change them afterwards. The methods may be
// called from several goroutines; questions are asked one after the other.
type Client struct {
	// Argv is the command that runs [ServeChild]: this program with its hidden subcommand and
	// options.
	Argv []string
	// Env is the child's environment. If it is nil, the child has this process's environment.
	Env []string
	// Start starts the command. If it is nil, (*exec.Cmd).Start does. Set it to change
	// SysProcAttr or to start the child on a certain thread.
	Start func(*exec.Cmd) error
	// Ended, if set, is called once for each started command, after it was waited for.
	Ended func(*exec.Cmd)
	// Stderr receives what the child prints on its standard output and standard error. If it is
	// nil, the output is discarded.
	Stderr io.Writer
	// OnHang, if set, is called once for a question that is still waited for when a call of NVML
	// has not returned for hangNotice. It is called in the goroutine that asks.
	OnHang func(*gpu.HangError)
	// OnEvent, if set, is called for events from the first question on. Events that happen
	// between the death of a child and the start of the next one are lost.
	//
	// OnEvent and OnNoEvents run in a goroutine of the client, one call at a time. They should
	// return soon, because events that happen in the meantime are only counted. Close does not
	// wait for a call that is running.
	OnEvent func(gpu.Event)
	// OnNoEvents, if set, is called with one line that says why no events come, or why some GPUs
	// send none. It is not called again while the reason stays the same, and is called with ""
	// when events come from all GPUs after a reason was given.
	OnNoEvents func(reason string)

	once   sync.Once
	turn   chan struct{}      // holds a token while a question is being asked
	closed context.Context    // ends when Close is called
	close  context.CancelFunc // ends closed

	// The fields below belong to the goroutine that put the token into turn.
	child   *child
	backoff backoff
	// listenerDeaths counts the children in a row that listened for events and died soon.
	listenerDeaths int

	listener listener
}

// NewClient returns a client whose child runs argv, which has to call [ServeChild]. The child is
// started at the first question.
func NewClient(argv []string) *Client { return &Client{Argv: argv} }

var errClosed = errors.New("the GPU probe is closed")

func (c *Client) init() {
	c.once.Do(func() {
		c.turn = make(chan struct{}, 1)
		c.closed, c.close = context.WithCancel(context.Background())
	})
}

// Inventory asks the child for the machine's GPUs. The error says in one line why there is no
// answer. It wraps ctx's error if ctx ended first, and it is a [gpu.HangError] if that was because
// NVML did not answer in time.
func (c *Client) Inventory(ctx context.Context) (gpu.Inventory, error) {
	answer, err := c.ask(ctx, askInventory)
	if err != nil {
		return gpu.Inventory{}, err
	}
	if answer.Inventory == nil {
		return gpu.Inventory{}, errors.New("the GPU probe's answer has no inventory")
	}
	return *answer.Inventory, nil
}

// Sample asks the child for the GPUs' current figures. Its errors are like those of
// [Client.Inventory].
func (c *Client) Sample(ctx context.Context) (gpu.Sample, error) {
	answer, err := c.ask(ctx, askSample)
	if err != nil {
		return gpu.Sample{}, err
	}
	if answer.Sample == nil {
		return gpu.Sample{}, errors.New("the GPU probe's answer has no sample")
	}
	return *answer.Sample, nil
}

// Listen makes sure that a child listens for events. Callers that ask for no samples use it. Its
// errors are like those of [Client.Inventory].
func (c *Client) Listen(ctx context.Context) error {
	_, err := c.ask(ctx, askNothing)
	return err
}

// Close ends the child. It closes the child's pipe first, and kills a child that does not exit
// soon after that. A question that is being asked is interrupted. Close returns within about a
// second, whatever state the child is in.
func (c *Client) Close() {
	c.init()
	c.close()
	c.turn <- struct{}{}
	defer func() { <-c.turn }()
	c.listener.close()
	if c.child == nil {
		return
	}
	c.child.closePipes()
	if !c.child.exitsWithin(context.Background(), exitTimeout) {
		c.child.kill()
		c.child.exitsWithin(context.Background(), exitTimeout)
	}
	c.child = nil
}

// ask waits for its turn, starts a child if there is none, and asks it.
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
	if c.closed.Err() != nil { // it may not have reached ctx yet
		return reply{}, errClosed
	}
	if ctx.Err() != nil {
		return reply{}, noAnswerError(ctx)
	}
	if err := c.ensureChild(); err != nil {
		return reply{}, err
	}
	c.child.listens = c.child.listens || c.wantsEvents()
	begin := time.Now()
	answer, err := c.child.roundTrip(ctx, request{Ask: what, Listen: c.child.listens})
	if err != nil {
		return reply{}, c.questionFailed(ctx, err, time.Since(begin))
	}
	c.backoff.reset()
	c.recordAnswer()
	if answer.Error != "" {
		return reply{}, fmt.Errorf("the GPU probe refused the question: %s", answer.Error)
	}
	return answer, nil
}

// ensureChild starts a child unless there is one that can be asked.
func (c *Client) ensureChild() error {
	if c.child != nil && c.child.unusable() {
		if !c.child.exited() {
			return fmt.Errorf("the GPU probe (process %d) was killed and has not ended yet; "+
				"it is probably stuck in the driver", c.child.pid())
		}
		c.discardEnded()
	}
	if c.child != nil {
		return nil
	}
	if wait := c.backoff.remaining(); wait > 0 {
		return fmt.Errorf("the GPU probe failed %d times in a row; it is tried again in %v",
			c.backoff.failures, wait.Round(100*time.Millisecond))
	}
	child, err := startChild(c.Argv, c.Env, c.Start, c.Ended, c.Stderr)
	if err != nil {
		c.backoff.failed()
		return fmt.Errorf("cannot start the GPU probe: %w", err)
	}
	c.child = child
	child.onHang = c.OnHang
	if c.OnEvent != nil {
		go c.listener.receive(child.events, c.OnEvent, c.OnNoEvents)
	}
	return nil
}

// questionFailed returns the error of a question that got no valid answer in the time for which it
// was waited, and kills the child so that it is not asked again.
func (c *Client) questionFailed(ctx context.Context, err error, waited time.Duration) error {
	defer c.child.kill()
	if errors.Is(ctx.Err(), context.Canceled) {
		c.child.listens = false // the caller gave up, which must not count against the child
	} else {
		c.backoff.failed()
	}
	if errors.Is(ctx.Err(), context.DeadlineExceeded) && !c.child.listens {
		// The child was late without listening for events, so listening is not the cause.
		c.listenerDeaths = 0
	}
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return c.child.hangError(noAnswerError(ctx), waited)
	}
	if ctx.Err() != nil {
		return noAnswerError(ctx)
	}
	// If the pipe broke, the child is about to exit, and how it exits says more than the pipe's
	// error.
	if !pipeBroke(err) || !c.child.exitsWithin(ctx, exitTimeout) {
		return fmt.Errorf("the GPU probe gave an invalid answer: %w", err)
	}
	return fmt.Errorf("the GPU probe died: %s", c.child.describeExit())
}

// pipeBroke reports whether an error means that the other end of a pipe was closed.
func pipeBroke(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) ||
		errors.Is(err, syscall.EPIPE)
}

// noAnswerError returns the error of a question whose context has ended.
func noAnswerError(ctx context.Context) error {
	if cause := context.Cause(ctx); errors.Is(cause, errClosed) {
		return cause
	}
	return fmt.Errorf("the GPU probe did not answer in time: %w", ctx.Err())
}
