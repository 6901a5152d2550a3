package probe

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"time"

	"github.com/gpulaunch/gpulaunch/gpu"
)

// child is one process that answers questions, and our ends of its pipes.
type child struct {
	cmd      *exec.Cmd
	requests *os.File
	replies  *os.File
	events   *os.File
	listens  bool // it was asked to listen for events
	answers  int  // how many questions it has answered
	started  time.Time
	running  *running  // the call of NVML that the current question waits for
	told     time.Time // when running was received
	onHang   func(*gpu.HangError)
	notes    *crashNotes
	killed   bool
	done     chan struct{} // closed when the process has exited; err is set by then
	err      error         // what cmd.Wait returned
}

// outputTimeout is how long the child's output is still read after the child has exited. It only
// matters if the library has started a process that keeps the output pipe open. It has to be well
// below exitTimeout, because the exit is reported only after it.
const outputTimeout = 100 * time.Millisecond

// startChild starts the command with three pipes as its descriptors 3, 4 and 5, with an empty
// standard input, and with both its outputs going to stderr.
func startChild(
	argv, env []string, start func(*exec.Cmd) error, ended func(*exec.Cmd), stderr io.Writer,
) (*child, error) {
	if len(argv) == 0 {
		return nil, errors.New("no command is given")
	}
	ours, theirs, err := makePipes()
	defer closeAll(theirs[:])
	if err != nil {
		closeAll(ours[:])
		return nil, err
	}
	notes := &crashNotes{to: stderr}
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Env = env
	cmd.Stdout, cmd.Stderr = notes, notes
	cmd.ExtraFiles = theirs[:] // the first one becomes descriptor 3
	cmd.WaitDelay = outputTimeout
	if start == nil {
		start = (*exec.Cmd).Start
	}
	if err := start(cmd); err != nil {
		closeAll(ours[:])
		return nil, err
	}
	c := &child{
		cmd: cmd, requests: ours[0], replies: ours[1], events: ours[2], notes: notes,
		started: time.Now(), done: make(chan struct{}),
	}
	go func() {
		defer close(c.done)
		c.err = cmd.Wait()
		if ended != nil {
			ended(cmd)
		}
	}()
	return c, nil
}

// makePipes returns our ends and the child's ends of the pipes for requests, replies and events.
func makePipes() (ours, theirs [3]*os.File, err error) {
	for i := range ours {
		read, write, err := os.Pipe()
		if err != nil {
			return ours, theirs, err
		}
		ours[i], theirs[i] = read, write
	}
	ours[0], theirs[0] = theirs[0], ours[0] // we write the requests and the child reads them
	return ours, theirs, nil
}

// closeAll closes the files that are not nil.
func closeAll(files []*os.File) {
	for _, f := range files {
		f.Close() // on nil it only returns os.ErrInvalid
	}
}

func (c *child) pid() int { return c.cmd.Process.Pid }

// roundTrip sends a question and returns the answer. It returns an error as soon as ctx ends. The
// child cannot be asked again after that.
func (c *child) roundTrip(ctx context.Context, what request) (reply, error) {
	c.running = nil
	stop := context.AfterFunc(ctx, func() {
		past := time.Unix(1, 0)
		c.requests.SetWriteDeadline(past)
		c.replies.SetReadDeadline(past)
	})
	defer stop()
	question, err := json.Marshal(what)
	if err != nil {
		return reply{}, err
	}
	if err := writeFrame(c.requests, question); err != nil {
		return reply{}, err
	}
	answer, err := c.readAnswer()
	if err == nil && !stop() {
		// ctx ended while the answer came in. The pipes' deadlines are in the past now, so the
		// child is of no more use and the answer counts as too late.
		err = ctx.Err()
	}
	return answer, err
}

// readAnswer returns the next answer. Until it comes, the child may say what it waits for.
func (c *child) readAnswer() (reply, error) {
	reported := c.onHang == nil
	for {
		message, err := readFrame(c.replies)
		if err != nil {
			return reply{}, err
		}
		var answer reply
		if err := json.Unmarshal(message, &answer); err != nil {
			return reply{}, fmt.Errorf("it is not JSON: %w", err)
		}
		if answer.Running == nil {
			return answer, nil
		}
		c.running, c.told = answer.Running, time.Now()
		if hang := c.hangError(nil, 0); !reported && hang.For >= hangNotice {
			c.onHang(hang)
			reported = true
		}
	}
}

// hangError returns the error for a question that was given up because of err after a time.
func (c *child) hangError(err error, waited time.Duration) *gpu.HangError {
	e := &gpu.HangError{For: waited, Err: err}
	if r := c.running; r != nil {
		e.Call = r.Call
		e.For = time.Duration(r.Milliseconds)*time.Millisecond + time.Since(c.told)
	}
	return e
}

// closePipes closes our ends of the pipes. A child that reads requests then exits by itself.
func (c *child) closePipes() {
	closeAll([]*os.File{c.requests, c.replies, c.events})
}

// kill kills this process, but not its children, and does not wait for its exit.
func (c *child) kill() {
	c.killed = true
	c.closePipes()
	c.cmd.Process.Kill() // an error means that it has exited already
}

// unusable reports whether the child can no longer be asked.
func (c *child) unusable() bool { return c.killed || c.exited() }

func (c *child) exited() bool {
	select {
	case <-c.done:
		return true
	default:
		return false
	}
}

// exitsWithin waits until the process has exited, the limit has passed or ctx has ended, and
// reports whether it has exited.
func (c *child) exitsWithin(ctx context.Context, limit time.Duration) bool {
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case <-c.done:
	case <-timer.C:
	case <-ctx.Done():
	}
	return c.exited()
}

// describeExit says how the process ended, with the line of its output that explains a crash. It
// must have exited.
func (c *child) describeExit() string {
	how := "exit status 0"
	if c.err != nil {
		how = c.err.Error()
	}
	if note := c.notes.summary(); note != "" {
		return fmt.Sprintf("%s (%s)", how, note)
	}
	return how
}
