package monitor

import (
	"fmt"
	"sync"
	"time"

	"github.com/gpulaunch/gpulaunch/gpu"
	"github.com/gpulaunch/gpulaunch/launcher/plan"
)

const (
	// repeatPause is how long the same event of a GPU is only counted after it has been printed.
	repeatPause = 10 * time.Second
	// repeatLimit is how many different events are printed within repeatPause.
	repeatLimit = 256
)

// eventPrinter prints the events of the job's GPUs for the user. An event that comes often is
// printed once and then counted.
type eventPrinter struct {
	mu     sync.Mutex
	closed bool
	silent bool // the reason why no events come has been reported
	fatal  bool // a fatal XID has been reported
	recent map[eventKey]*repeat
}

// eventKey identifies an event: two events with the same key are the same event.
type eventKey struct {
	index int
	kind  gpu.EventKind
	xid   uint64
}

// repeat is an event that has been printed, and how often it has come since.
type repeat struct {
	line  string
	count uint64
	timer *time.Timer
}

// eventsSilent handles the reason why no events come, or that they come again, which is the reason
// "". It reports the first reason until then.
func (m *Monitor) eventsSilent(reason string) {
	m.events.mu.Lock()
	defer m.events.mu.Unlock()
	if m.events.closed || m.events.silent == (reason != "") || m.plan().Mode != plan.ModeGPU {
		return
	}
	m.events.silent = reason != ""
	m.Observer.EventsSilent(reason)
}

// gpuEvent handles an event of a GPU.
func (m *Monitor) gpuEvent(e gpu.Event) {
	p := &m.events
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return
	}
	m.Observer.GPUEvent(e)
	index, ranks := m.xids.add(e)
	if len(ranks) == 0 { // the GPU is not the job's
		return
	}
	line := describeEvent(e, index, ranks)
	p.print(eventKey{index, e.Kind, e.XID}, line, e.Count, m.Observer.Log)
	if isFatal(e) && !p.fatal {
		p.fatal = true
		m.Observer.Fatal(line)
	}
}

// print prints an event or, if the same one was printed just now, counts it.
func (p *eventPrinter) print(key eventKey, line string, count uint64, log func(string)) {
	if r := p.recent[key]; r != nil {
		r.line, r.count = line, r.count+count
		return
	}
	if len(p.recent) >= repeatLimit {
		return
	}
	if count > 1 {
		line = fmt.Sprintf("%s, %d times", line, count)
	}
	log(line)
	r := &repeat{line: line}
	r.timer = time.AfterFunc(repeatPause, func() { p.printRepeats(key, r, log) })
	p.recent[key] = r
}

// printRepeats prints how often an event has come again since it was printed.
func (p *eventPrinter) printRepeats(key eventKey, r *repeat, log func(string)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return
	}
	if r.count == 0 {
		delete(p.recent, key)
		return
	}
	log(fmt.Sprintf("%s, again %d times in %s", r.line, r.count, repeatPause))
	r.count = 0
	r.timer.Reset(repeatPause)
}

// close prints how often events have come that were only counted. Nothing is printed after it.
func (p *eventPrinter) close(log func(string)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return
	}
	p.closed = true
	for _, r := range p.recent {
		r.timer.Stop()
		if r.count > 0 {
			log(fmt.Sprintf("%s, again %d times", r.line, r.count))
		}
	}
}
