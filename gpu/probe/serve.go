package probe

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/gpulaunch/gpulaunch/gpu"
)

// The child's descriptors. Standard output is not among them because a library may print there,
// and that must not get mixed with the answers.
const (
	requestFD = 3
	replyFD   = 4
	eventFD   = 5
)

// The questions that a child answers.
const (
	askInventory = "inventory"
	askSample    = "sample"
	// askNothing only makes sure that the child can listen for events.
	askNothing = "nothing"
)

// request is a question to the child.
type request struct {
	Ask string `json:"ask"`
	// Listen also asks the child to send events from now on.
	Listen bool `json:"watch,omitempty"`
}

// reply is the child's answer or, if only Running is set, says that the answer takes its time.
type reply struct {
	Running   *running       `json:"running,omitempty"`
	Inventory *gpu.Inventory `json:"inventory,omitempty"`
	Sample    *gpu.Sample    `json:"sample,omitempty"`
	Error     string         `json:"error,omitempty"`
}

// running is a call of NVML that has not come back yet.
type running struct {
	Call         string `json:"call"`
	Milliseconds int64  `json:"milliseconds"`
}

// runningPause is after how long the client is told which call of NVML an answer waits for, and how
// often.
const runningPause = time.Second

// ServeChild answers the questions of the [Client] that started this process. It does all of the
// child's work, and returns when the client closes. The process has to exit then, without closing
// NVML, because a goroutine that waits for events may still be inside it.
func ServeChild(o Options) error {
	in, out, events, err := childPipes()
	if err != nil {
		return err
	}
	stop := reportRunning(out) // the first question is being waited for
	p := newLocalProbe(o)
	stop()
	var once sync.Once
	return serve(in, out, p, func() { once.Do(func() { go p.sendEvents(events) }) })
}

// sendEvents sends events until the reader has closed its end of the pipe.
func (p *localProbe) sendEvents(events io.Writer) {
	ctx, stop := context.WithCancel(context.Background())
	counter := newEventCounter()
	go runEventLoop(ctx, &p.feed, counter)
	counter.deliver(ctx, events)
	stop()
}

// childPipes returns the child's ends of the pipes. Processes that the child starts do not
// inherit them: NVML may start nvidia-modprobe, and the client would not notice the death of the
// child while another process holds the pipe for replies.
func childPipes() (in, out, events *os.File, err error) {
	for _, fd := range []int{requestFD, replyFD, eventFD} {
		if !isPipe(fd) {
			return nil, nil, nil, fmt.Errorf(
				"file descriptor %d is not a pipe: this command is for gpulaunch's own use", fd)
		}
		unix.CloseOnExec(fd)
	}
	in = os.NewFile(requestFD, "requests")
	out = os.NewFile(replyFD, "replies")
	events = os.NewFile(eventFD, "events")
	return in, out, events, nil
}

// isPipe reports whether fd is an open pipe. Without a client, the descriptor may be closed, or
// the Go runtime may have opened it for itself.
func isPipe(fd int) bool {
	var stat unix.Stat_t
	return unix.Fstat(fd, &stat) == nil && stat.Mode&unix.S_IFMT == unix.S_IFIFO
}

// prober is what serve asks: a localProbe, or something simpler in tests.
type prober interface {
	Inventory() gpu.Inventory
	Sample() gpu.Sample
	Listen()
}

// serve answers requests until in ends. It calls listen for each request that asks for events.
// While an answer takes its time, out is told which call of NVML it waits for.
func serve(in io.Reader, out io.Writer, p prober, listen func()) error {
	for {
		message, err := readFrame(in)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("cannot read the request: %w", err)
		}
		stop := reportRunning(out)
		answer, err := json.Marshal(answerTo(message, p, listen))
		stop()
		if err != nil {
			return fmt.Errorf("cannot encode the answer: %w", err)
		}
		if err := writeFrame(out, answer); err != nil {
			return fmt.Errorf("cannot send the answer: %w", err)
		}
	}
}

// reportRunning sends the call of NVML that has not come back, every runningPause. Nothing is sent
// any more when stop has returned.
func reportRunning(out io.Writer) (stop func()) {
	var mu sync.Mutex // held while a report is sent, and to stop
	stopped := false
	var timer *time.Timer
	report := func() {
		mu.Lock()
		defer mu.Unlock()
		if stopped {
			return
		}
		if function, since, ok := runningCall(); ok {
			r := running{function, time.Since(since).Milliseconds()}
			message, err := json.Marshal(reply{Running: &r})
			if err != nil || writeFrame(out, message) != nil {
				return // the client has gone
			}
		}
		timer.Reset(runningPause)
	}
	mu.Lock()
	defer mu.Unlock()
	timer = time.AfterFunc(runningPause, report)
	return func() {
		mu.Lock()
		defer mu.Unlock()
		stopped = true
		timer.Stop()
	}
}

func answerTo(message []byte, p prober, listen func()) reply {
	var r request
	if err := json.Unmarshal(message, &r); err != nil {
		return reply{Error: fmt.Sprintf("the request is not JSON: %v", err)}
	}
	if r.Listen {
		listen()
	}
	switch r.Ask {
	case askInventory:
		inv := p.Inventory()
		return reply{Inventory: &inv}
	case askSample:
		sample := p.Sample()
		return reply{Sample: &sample}
	case askNothing:
		p.Listen()
		return reply{}
	default:
		return reply{Error: fmt.Sprintf("unknown request %q", r.Ask)}
	}
}
