package probe

import (
	"encoding/json"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/gpulaunch/gpulaunch/gpu"
)

const (
	// deathsTolerated is how many children in a row may end within suspectLife while they listen for events. The next one
	// does not listen: if that is what ended them, at least the figures come, and if it is late as well it was not.
	deathsTolerated = 3
	suspectLife     = time.Minute
	// answersBeforeRetry is how many questions a child that does not listen has to answer before it is tried again.
	answersBeforeRetry = 20
)

// wantsEvents reports whether the child is to be asked for events.
func (c *Client) wantsEvents() bool { return c.OnEvent != nil && c.deaths < deathsTolerated }

// answered notes an answer. A child that has given many without listening may try to.
func (c *Client) answered() {
	c.child.answers++
	if c.deaths >= deathsTolerated && c.child.answers >= answersBeforeRetry {
		c.deaths = deathsTolerated - 1
	}
}

// buried forgets a child that has ended.
func (c *Client) buried() {
	c.child.hangUp()
	if c.child.watching {
		if time.Since(c.child.started) > suspectLife {
			c.deaths = 0
		}
		c.deaths++
		if c.deaths == deathsTolerated {
			const why = "%d GPU probes in a row ended while they listened for events; the next one does not listen"
			go c.listener.tell(fmt.Sprintf(why, c.deaths), c.OnNoEvents) // not held up by a call under way
		}
	}
	c.child = nil
}

// listener receives what children send unasked. It takes it from one at a time.
type listener struct {
	mu     sync.Mutex // held while the user's functions are called
	state  sync.Mutex
	closed bool
	why    string // what was told last
}

// listen passes a child's messages on until the pipe ends or something else than a message comes.
func (l *listener) listen(from io.Reader, onEvent func(gpu.Event), onNoEvents func(string)) {
	for {
		message, err := readFrame(from)
		if err != nil {
			return
		}
		var m eventMessage
		if json.Unmarshal(message, &m) != nil {
			return
		}
		if m.Event != nil && m.Event.Count > 0 {
			l.call(func() { onEvent(*m.Event) })
		}
		if m.NoEvents != "" {
			l.tell(m.NoEvents, onNoEvents)
		}
	}
}

// tell passes a reason on, if it is news.
func (l *listener) tell(why string, onNoEvents func(string)) {
	l.state.Lock()
	news := why != l.why
	l.why = why
	l.state.Unlock()
	if news && onNoEvents != nil {
		l.call(func() { onNoEvents(why) })
	}
}

// call makes one call at a time, and none after close.
func (l *listener) call(f func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.state.Lock()
	closed := l.closed
	l.state.Unlock()
	if !closed {
		f()
	}
}

func (l *listener) close() {
	l.state.Lock()
	defer l.state.Unlock()
	l.closed = true
}
