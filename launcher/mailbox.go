package launcher

import "sync"

// event is something that happened to an attempt or that is requested of it.
type event struct {
	name string
	act  func()
	// dropped, if not nil, is called instead of act when the attempt is over.
	dropped func()
}

// mailbox holds events until the goroutine of an attempt takes them, in the order in which they
// arrived. put never blocks, so neither a signal nor the thread that starts workers ever waits for
// the attempt.
type mailbox struct {
	mu     sync.Mutex
	list   []event
	closed bool
	ready  chan struct{} // holds a token while there are events to take
}

func newMailbox() *mailbox { return &mailbox{ready: make(chan struct{}, 1)} }

// put adds an event, or drops it if the mailbox is closed.
func (m *mailbox) put(e event) {
	m.mu.Lock()
	closed := m.closed
	if !closed {
		m.list = append(m.list, e)
	}
	m.mu.Unlock()
	switch {
	case !closed:
		select {
		case m.ready <- struct{}{}:
		default:
		}
	case e.dropped != nil:
		e.dropped()
	}
}

// take returns the events that have arrived since the last call.
func (m *mailbox) take() []event {
	m.mu.Lock()
	defer m.mu.Unlock()
	list := m.list
	m.list = nil
	return list
}

// close drops the events in the mailbox and all that arrive later.
func (m *mailbox) close() {
	m.mu.Lock()
	m.closed = true
	m.mu.Unlock()
	for _, e := range m.take() {
		if e.dropped != nil {
			e.dropped()
		}
	}
}

// gate controls the starting of workers: it can pause, resume and end it.
type gate struct {
	mu      sync.Mutex
	changed sync.Cond
	paused  bool
	closed  bool
}

func newGate() *gate {
	g := &gate{}
	g.changed.L = &g.mu
	return g
}

// pass waits while the gate is paused and reports whether it is still open. It is called before
// each worker.
func (g *gate) pass() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	for g.paused && !g.closed {
		g.changed.Wait()
	}
	return !g.closed
}

// pause makes pass wait.
func (g *gate) pause() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.paused = true
}

// resume ends a pause.
func (g *gate) resume() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.paused = false
	g.changed.Broadcast()
}

// close makes pass return false from now on.
func (g *gate) close() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.closed = true
	g.changed.Broadcast()
}
