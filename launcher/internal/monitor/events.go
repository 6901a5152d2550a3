package monitor

import (
	"fmt"
	"sync"
	"time"

	"github.com/gpulaunch/gpulaunch/gpu"
	"github.com/gpulaunch/gpulaunch/launcher/plan"
)

const (
	// repeatPause is how long the same event of a GPU is only counted after it was told.
	repeatPause = 10 * time.Second
	// repeatLimit bounds the different events that are told in such a time.
	repeatLimit = 256
)

// events are what happened to the job's GPUs. What comes often is told once and counted.
type events struct {
	mu     sync.Mutex
	closed bool
	silent bool // why no events come has been told
	fatal  bool // so has a fatal one
	recent map[eventKey]*repeat
}

// eventKey is what makes two events the same.
type eventKey struct {
	index int
	kind  gpu.EventKind
	xid   uint64
}

// repeat is an event that was told, and how often it came since.
type repeat struct {
	line  string
	more  uint64
	timer *time.Timer
}

// eventsSilent takes the reason why no events come. The first one is told.
func (m *Monitor) eventsSilent(reason string) {
	m.events.mu.Lock()
	defer m.events.mu.Unlock()
	if m.events.closed || m.events.silent || m.Plan.Mode != plan.ModeGPU {
		return
	}
	m.events.silent = true
	m.Observer.EventsSilent(reason)
}

// gpuEvent takes something that happened to a GPU.
func (m *Monitor) gpuEvent(e gpu.Event) {
	x := &m.events
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.closed {
		return
	}
	m.Observer.GPUEvent(e)
	index, ranks := m.log.add(e)
	if len(ranks) == 0 { // the GPU of somebody else
		return
	}
	line := describeEvent(e, index, ranks)
	x.print(eventKey{index, e.Kind, e.XID}, line, e.Count, m.Observer.Say)
	if fatal(e) && !x.fatal {
		x.fatal = true
		m.Observer.Fatal(line)
	}
}

// print says what happened or, if that was said just now, counts it.
func (x *events) print(key eventKey, line string, count uint64, say func(string)) {
	if r := x.recent[key]; r != nil {
		r.line, r.more = line, r.more+count
		return
	}
	if len(x.recent) >= repeatLimit {
		return
	}
	if count > 1 {
		line = fmt.Sprintf("%s, %d times", line, count)
	}
	say(line)
	r := &repeat{line: line}
	r.timer = time.AfterFunc(repeatPause, func() { x.again(key, r, say) })
	x.recent[key] = r
}

// again says how often something happened again.
func (x *events) again(key eventKey, r *repeat, say func(string)) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.closed {
		return
	}
	if r.more == 0 {
		delete(x.recent, key)
		return
	}
	say(fmt.Sprintf("%s, again %d times in %s", r.line, r.more, repeatPause))
	r.more = 0
	r.timer.Reset(repeatPause)
}

// close ends the telling. What was only counted is told.
func (x *events) close(say func(string)) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.closed {
		return
	}
	x.closed = true
	for _, r := range x.recent {
		r.timer.Stop()
		if r.more > 0 {
			say(fmt.Sprintf("%s, again %d times", r.line, r.more))
		}
	}
}
