package probe

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/gpulaunch/gpulaunch/gpu"
)

// The child's descriptors. Standard output stays free for what a library may print, since that must not end up among
// the answers.
const (
	requestFD = 3
	replyFD   = 4
	eventFD   = 5
)

// The questions that a child answers.
const (
	askInventory = "inventory"
	askSample    = "sample"
	// askNothing is for a child that is only to listen: it looks at the GPUs once.
	askNothing = "nothing"
)

// request is a question to the child.
type request struct {
	Ask string `json:"ask"`
	// Watch asks besides for events to be sent from now on.
	Watch bool `json:"watch,omitempty"`
}

// reply is its answer.
type reply struct {
	Inventory *gpu.Inventory `json:"inventory,omitempty"`
	Sample    *gpu.Sample    `json:"sample,omitempty"`
	Error     string         `json:"error,omitempty"`
}

// ServeChild is what a child that a [Client] started has to do, and all of it. It returns when the client closes, and
// the process has to end then: a thread that waits for events may still be inside NVML, so NVML is left as it is.
func ServeChild(o Options) error {
	in, out, events, err := childPipes()
	if err != nil {
		return err
	}
	p := NewProbe(o)
	var once sync.Once
	return serve(in, out, p, func() { once.Do(func() { go p.watchInto(events) }) })
}

// watchInto sends events until nobody reads them.
func (p *Probe) watchInto(events io.Writer) {
	ctx, stop := context.WithCancel(context.Background())
	t := newTally()
	go watch(ctx, &p.feed, t)
	t.deliver(ctx, events)
	stop()
}

// childPipes are the child's ends of the pipes. What the child starts in turn does not get them: NVML may start
// nvidia-modprobe, and as long as anybody holds the pipe for replies, its reader does not see that the child died.
func childPipes() (in, out, events *os.File, err error) {
	for _, fd := range []int{requestFD, replyFD, eventFD} {
		if !isPipe(fd) {
			return nil, nil, nil, fmt.Errorf("file descriptor %d is not a pipe: this command is for gpulaunch's own use", fd)
		}
		unix.CloseOnExec(fd)
	}
	return os.NewFile(requestFD, "requests"), os.NewFile(replyFD, "replies"), os.NewFile(eventFD, "events"), nil
}

// isPipe tells a pipe from a descriptor that is not open, or that the Go runtime has opened for itself.
func isPipe(fd int) bool {
	var stat unix.Stat_t
	return unix.Fstat(fd, &stat) == nil && stat.Mode&unix.S_IFMT == unix.S_IFIFO
}

// prober is what questions are passed on to.
type prober interface {
	Inventory() gpu.Inventory
	Sample() gpu.Sample
	Listen()
}

// serve calls watch for each request that wants events.
func serve(in io.Reader, out io.Writer, p prober, watch func()) error {
	for {
		message, err := readFrame(in)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("the request cannot be read: %w", err)
		}
		answer, err := json.Marshal(answerTo(message, p, watch))
		if err != nil {
			return fmt.Errorf("the answer cannot be encoded: %w", err)
		}
		if err := writeFrame(out, answer); err != nil {
			return fmt.Errorf("the answer cannot be sent: %w", err)
		}
	}
}

func answerTo(message []byte, p prober, watch func()) reply {
	var r request
	if err := json.Unmarshal(message, &r); err != nil {
		return reply{Error: fmt.Sprintf("the request is not JSON: %v", err)}
	}
	if r.Watch {
		watch()
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
