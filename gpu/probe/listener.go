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
	// listenerDeathsLimit is how many children in a row may die within shortLife of their start
	// while they listen for events. The next child does not listen. If listening is what killed
	// the others, samples still come. If the next child is late as well, listening was not the
	// cause.
	listenerDeathsLimit = 3
	shortLife           = time.Minute
	// answersBeforeListening is how many questions a child that does not listen has to answer
	// before it may listen after all.
	answersBeforeListening = 20
)

// wantsEvents reports whether the child should be asked to listen for events.
func (c *Client) wantsEvents() bool {
	return c.OnEvent != nil && c.listenerDeaths < listenerDeathsLimit
}

// recordAnswer counts an answer of the child. After many answers a child that does not listen for
// events may try to.
func (c *Client) recordAnswer() {
	c.child.answers++
	if c.listenerDeaths >= listenerDeathsLimit && c.child.answers >= answersBeforeListening {
		c.listenerDeaths = listenerDeathsLimit - 1
	}
}

// discardEnded forgets a child that has exited.
func (c *Client) discardEnded() {
	c.child.closePipes()
	if c.child.listens {
		if time.Since(c.child.started) > shortLife {
			c.listenerDeaths = 0
		}
		c.listenerDeaths++
		if c.listenerDeaths == listenerDeathsLimit {
			reason := fmt.Sprintf("%d GPU probes in a row ended while they listened for events; "+
				"the next one does not listen", c.listenerDeaths)
			// In a goroutine because a call of OnEvent that is under way may take long.
			go c.listener.reportNoEvents(reason, c.OnNoEvents)
		}
	}
	c.child = nil
}

// listener passes on what children send without being asked, one call at a time.
type listener struct {
	calling sync.Mutex // held while one of the user's functions runs

	mu         sync.Mutex
	closed     bool
	lastReason string // the last one that was passed on
}

// receive passes a child's messages on until the pipe is closed or a message is malformed.
func (l *listener) receive(
	from io.Reader, onEvent func(gpu.Event), onNoEvents func(reason string),
) {
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
		if m.NoEvents != "" || m.Come {
			l.reportNoEvents(m.NoEvents, onNoEvents)
		}
	}
}

// reportNoEvents passes on the reason why no events come, or "" if they come, unless it is the same
// as before. At first they are expected to come.
func (l *listener) reportNoEvents(reason string, onNoEvents func(reason string)) {
	l.mu.Lock()
	isNew := reason != l.lastReason
	l.lastReason = reason
	l.mu.Unlock()
	if isNew && onNoEvents != nil {
		l.call(func() { onNoEvents(reason) })
	}
}

// call runs f once no other call is running. After close it does nothing.
func (l *listener) call(f func()) {
	l.calling.Lock()
	defer l.calling.Unlock()
	l.mu.Lock()
	closed := l.closed
	l.mu.Unlock()
	if !closed {
		f()
	}
}

// close prevents further calls. It does not wait for one that is running.
func (l *listener) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
}
