//go:build linux

package run

import (
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/gpulaunch/gpulaunch/gpu"
	"github.com/gpulaunch/gpulaunch/launcher"
)

// Metrics serves on a listener what a job's events tell. started is when the user's command
// was started, and inv is the machine's GPUs. It gives what takes events, and what ends the
// serving.
type Metrics func(l net.Listener, started time.Time,
	inv gpu.Inventory) (observe func(launcher.Event), stop func())

// metrics is the job's side of that. Events that come before Attach are kept for it: the
// libraries that serve metrics take longer to be initialised than a worker to start.
type metrics struct {
	attached chan Metrics
	tried    chan struct{} // closed when it is known if the default address can be had

	mu      sync.Mutex
	kept    []launcher.Event // nil once somebody observes, or nobody will
	keeping bool
	observe func(launcher.Event)
	stop    func()
	closed  bool
}

// Attach has metrics served by m.
func (j *Job) Attach(m Metrics) { j.metrics.attached <- m }

// listen begins to listen for scrapes. That an address the user has named cannot be had is
// an error; the default one is tried for only once workers have been started.
func (j *Job) listen(inv gpu.Inventory) error {
	if j.address == NoMetrics {
		return nil
	}
	j.metrics.keeping = true
	if !j.named {
		j.metrics.tried = make(chan struct{})
		go func() {
			j.awaitLaunch()
			defer close(j.metrics.tried)
			l, err := listen(j.address)
			if err != nil {
				j.out.say(err.Error() + "; going on without, choose another with --metrics-address")
				j.metrics.discard()
				return
			}
			go func() { j.metrics.serve(<-j.metrics.attached, l, j.begun, inv) }()
		}()
		return nil
	}
	l, err := listen(j.address)
	if err != nil {
		return err
	}
	j.out.say(fmt.Sprintf("metrics are on http://%s/metrics", l.Addr()))
	go func() { j.metrics.serve(<-j.metrics.attached, l, j.begun, inv) }()
	return nil
}

func listen(address string) (net.Listener, error) {
	l, err := net.Listen("tcp", address)
	var op *net.OpError
	if errors.As(err, &op) { // what the system said, without what the user knows already
		err = op.Err
	}
	if err != nil {
		return nil, fmt.Errorf("cannot serve metrics on %s: %w", address, err)
	}
	return l, nil
}

// serve begins to serve, and catches up on what has happened.
func (m *metrics) serve(start Metrics, l net.Listener, started time.Time, inv gpu.Inventory) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		l.Close()
		return
	}
	m.observe, m.stop = start(l, started, inv)
	for _, e := range m.kept {
		m.observe(e)
	}
	m.kept, m.keeping = nil, false
}

// discard forgets what was kept, because nobody will observe.
func (m *metrics) discard() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.kept, m.keeping = nil, false
}

// take takes an event.
func (m *metrics) take(e launcher.Event) {
	m.mu.Lock()
	defer m.mu.Unlock()
	switch {
	case m.observe != nil:
		m.observe(e)
	case m.keeping:
		m.kept = append(m.kept, e)
	}
}

// close ends the serving.
func (m *metrics) close() {
	if m.tried != nil {
		<-m.tried // a user whose job is short is told of an address in use, too
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.closed = true
	if m.stop != nil {
		m.stop()
	}
}
