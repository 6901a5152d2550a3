package metrics

import (
	"net"
	"net/http"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// maxConnections is how many connections may be open at once. Each takes some 20 KiB.
	maxConnections = 24
	// minConnections is how many there may be even if few descriptors are permitted.
	minConnections = 2
	// reservedFiles is how many descriptors stay free for the launcher, and workerFiles for each
	// worker: the two ends of its pipes, its pidfd and its standard input.
	reservedFiles = 64
	workerFiles   = 8
)

// openFileLimit returns how many descriptors this process may have (getrlimit(2), RLIMIT_NOFILE).
func openFileLimit() uint64 {
	var r unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_NOFILE, &r) != nil {
		return 0
	}
	return r.Cur
}

// connectionLimit returns how many connections may be open if this process may have so many
// descriptors and has so many workers to start, at any time again.
func connectionLimit(files uint64, workers int) int {
	reserved := uint64(reservedFiles + workers*workerFiles)
	if files < reserved+minConnections {
		return minConnections
	}
	return int(min(files-reserved, maxConnections))
}

// connections is a listener with a limited number of open connections. It always accepts a new one:
// when the limit is reached, it closes the one that has waited longest for a request. A client that
// sends its request at once is thus served however many others hold connections.
type connections struct {
	net.Listener
	limit func() int

	mu     sync.Mutex
	closed *sync.Cond // a connection has been closed
	open   map[net.Conn]*connection
}

// connection is what is known about an open connection.
type connection struct {
	since   time.Time // when it got into its present state
	active  bool      // a request has been read and not yet answered
	evicted bool
}

func newConnections(l net.Listener, limit func() int) *connections {
	c := &connections{Listener: l, limit: limit, open: map[net.Conn]*connection{}}
	c.closed = sync.NewCond(&c.mu)
	return c
}

// Accept waits for a new connection, and then until no more than the limit are open.
func (c *connections) Accept() (net.Conn, error) {
	added, err := c.Listener.Accept()
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	// A descriptor is free again only when the connection's goroutine has noticed that it is
	// closed.
	for limit := max(c.limit(), 1); len(c.open) >= limit; c.closed.Wait() {
		c.evict(len(c.open) - limit + 1)
	}
	c.open[added] = &connection{since: time.Now()}
	return added, nil
}

// evict closes connections until so many are being closed.
func (c *connections) evict(n int) {
	for _, state := range c.open {
		if state.evicted {
			n--
		}
	}
	for ; n > 0; n-- {
		conn := c.longestWaiting()
		if conn == nil {
			return
		}
		c.open[conn].evicted = true
		_ = conn.Close()
	}
}

// longestWaiting returns the connection to close next. One whose request is being answered comes
// last.
func (c *connections) longestWaiting() (found net.Conn) {
	var best *connection
	for conn, state := range c.open {
		if state.evicted {
			continue
		}
		if best == nil || !state.active && best.active ||
			state.active == best.active && state.since.Before(best.since) {
			found, best = conn, state
		}
	}
	return found
}

// changed notes a connection's new state. It is called by package http.
func (c *connections) changed(conn net.Conn, s http.ConnState) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch s {
	case http.StateActive, http.StateIdle:
		if state := c.open[conn]; state != nil {
			state.since, state.active = time.Now(), s == http.StateActive
		}
	case http.StateClosed, http.StateHijacked:
		delete(c.open, conn)
		c.closed.Broadcast()
	}
}
