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
)

// child is one process that answers questions, and our ends of its pipes.
type child struct {
	cmd      *exec.Cmd
	requests *os.File
	replies  *os.File
	events   *os.File
	watching bool // it was asked for events
	answers  int
	started  time.Time
	notes    *crashNotes
	killed   bool
	done     chan struct{} // closed when the process has ended; err is set then
	err      error
}

// outputBound is how long after the child's end its output is read on. It would end by itself, but for something that
// the library started and that holds on to it. It has to be well below endBound, since the end counts from here.
const outputBound = 100 * time.Millisecond

// startChild starts the command with three pipes as its descriptors 3, 4 and 5, an empty standard input, and whatever it
// prints going to stderr.
func startChild(argv, env []string, start func(*exec.Cmd) error, ended func(*exec.Cmd), stderr io.Writer) (*child, error) {
	if len(argv) == 0 {
		return nil, errors.New("no command is given")
	}
	ours, theirs, err := pipes()
	defer closeAll(theirs[:])
	if err != nil {
		closeAll(ours[:])
		return nil, err
	}
	notes := &crashNotes{to: stderr}
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Env = env
	cmd.Stdout, cmd.Stderr = notes, notes
	cmd.ExtraFiles = theirs[:] // 3 and up, in this order
	cmd.WaitDelay = outputBound
	if start == nil {
		start = (*exec.Cmd).Start
	}
	if err := start(cmd); err != nil {
		closeAll(ours[:])
		return nil, err
	}
	c := &child{cmd: cmd, requests: ours[0], replies: ours[1], events: ours[2], notes: notes,
		started: time.Now(), done: make(chan struct{})}
	go func() {
		defer close(c.done)
		c.err = cmd.Wait()
		if ended != nil {
			ended(cmd)
		}
	}()
	return c, nil
}

// pipes are for requests, replies and events, each with our end and the child's.
func pipes() (ours, theirs [3]*os.File, err error) {
	for i := range ours {
		read, write, err := os.Pipe()
		if err != nil {
			return ours, theirs, err
		}
		ours[i], theirs[i] = read, write
	}
	ours[0], theirs[0] = theirs[0], ours[0] // requests go the other way
	return ours, theirs, nil
}

// closeAll closes those that are there.
func closeAll(files []*os.File) {
	for _, f := range files {
		f.Close() // nil is an error and no more
	}
}

func (c *child) pid() int { return c.cmd.Process.Pid }

// roundTrip asks one thing and returns the answer's bytes, or an error as soon as ctx ends.
func (c *child) roundTrip(ctx context.Context, what request) ([]byte, error) {
	stop := context.AfterFunc(ctx, func() {
		past := time.Unix(1, 0)
		c.requests.SetWriteDeadline(past)
		c.replies.SetReadDeadline(past)
	})
	defer stop()
	question, err := json.Marshal(what)
	if err != nil {
		return nil, err
	}
	if err := writeFrame(c.requests, question); err != nil {
		return nil, err
	}
	answer, err := readFrame(c.replies)
	if err == nil && !stop() {
		// The deadlines are in the past for good. The answer came too late to be told from none.
		err = ctx.Err()
	}
	return answer, err
}

// hangUp closes our ends: a child that listens then ends by itself.
func (c *child) hangUp() {
	closeAll([]*os.File{c.requests, c.replies, c.events})
}

// kill ends this process and no other, and waits for nothing.
func (c *child) kill() {
	c.killed = true
	c.hangUp()
	c.cmd.Process.Kill() // an error means that it has ended already
}

// useless reports whether the child can be asked no more.
func (c *child) useless() bool { return c.killed || c.ended() }

func (c *child) ended() bool {
	select {
	case <-c.done:
		return true
	default:
		return false
	}
}

// endsWithin waits for the end of the process, but no longer than the limit and ctx allow.
func (c *child) endsWithin(ctx context.Context, limit time.Duration) bool {
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case <-c.done:
	case <-timer.C:
	case <-ctx.Done():
	}
	return c.ended()
}

// lastWords says how an ended process ended.
func (c *child) lastWords() string {
	how := "exit status 0"
	if c.err != nil {
		how = c.err.Error()
	}
	if note := c.notes.line(); note != "" {
		return fmt.Sprintf("%s (%s)", how, note)
	}
	return how
}
