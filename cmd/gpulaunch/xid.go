//go:build linux

package main

import (
	"fmt"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/gpulaunch/gpulaunch/gpu"
	"github.com/gpulaunch/gpulaunch/launcher"
	"github.com/gpulaunch/gpulaunch/metrics"
)

const (
	// xidPause is how long the same event of a GPU is only counted after it was told.
	xidPause = 10 * time.Second
	// xidKinds bounds the events that are told in such a time.
	xidKinds = 256
)

// xids passes what happens to the GPUs on to the metrics, the log, the report and,
// if asked for, the job's end. It is called by the client's own goroutine, and
// nothing waits for anything here.
type xids struct {
	stopOnFatal, quiet bool

	mu       sync.Mutex
	log      *launcher.XIDLog  // nil while no job runs
	recorder *metrics.Recorder // nil without metrics
	out      *console
	why      string // no events come
	stopped  bool   // the job, for a fatal one
	recent   map[xidKey]*xidRepeat
	early    []gpu.Event // that came before the job began
}

// xidKey is what events are told by.
type xidKey struct {
	index int
	kind  string
	xid   uint64
}

// xidRepeat is an event that was told, and how often it came since.
type xidRepeat struct {
	line  string
	more  uint64
	timer *time.Timer
}

// earlyEvents bounds what is kept of the time before.
const earlyEvents = 64

// begin is the job's start. What came since the GPUs were looked at is its business,
// too: the plan knows nothing of it. That no events come is only told if some are
// expected.
func (x *xids) begin(p launcher.Plan, expected bool, recorder *metrics.Recorder, out *console) *launcher.XIDLog {
	defer x.replay()
	x.mu.Lock()
	defer x.mu.Unlock()
	x.quiet = x.quiet || !expected
	x.log, x.recorder, x.out, x.recent = launcher.NewXIDLog(p), recorder, out, map[xidKey]*xidRepeat{}
	if x.why != "" && !x.quiet {
		x.out.say(noXIDs(x.why))
	}
	return x.log
}

// replay passes on what came early.
func (x *xids) replay() {
	x.mu.Lock()
	early := x.early
	x.early = nil
	x.mu.Unlock()
	for _, e := range early {
		x.happened(e)
	}
}

func noXIDs(why string) string { return "XIDs will not be told: " + why }

// silent is for the client: no events come, or not from all GPUs. Told once, the
// first reason.
func (x *xids) silent(why string) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.why != "" {
		return
	}
	if x.why = why; x.log != nil && !x.quiet {
		x.out.say(noXIDs(why))
	}
}

// happened is for the client.
func (x *xids) happened(e gpu.Event) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.log == nil {
		if len(x.early) < earlyEvents {
			x.early = append(x.early, e)
		}
		return
	}
	if x.recorder != nil {
		x.recorder.RecordEvent(e)
	}
	index, ranks := x.log.Add(e)
	if len(ranks) == 0 { // the GPU of somebody else
		return
	}
	line := launcher.DescribeEvent(e, index, ranks)
	x.tell(xidKey{index, string(e.Kind), e.XID}, line, e.Count)
	if x.stopOnFatal && launcher.Fatal(e) && !x.stopped {
		x.stopped = true
		end := launcher.Control{Signal: unix.SIGTERM, Direct: true, Reason: "--on-xid=stop",
			Err: fmt.Errorf("%s: the job was stopped as --on-xid=stop says", line)}
		go func(to chan<- launcher.Control) { to <- end }(x.out.control)
	}
}

// tell says what happened or, if that was said just now, counts it.
func (x *xids) tell(key xidKey, line string, count uint64) {
	if r := x.recent[key]; r != nil {
		r.line, r.more = line, r.more+count
		return
	}
	if len(x.recent) >= xidKinds {
		return
	}
	x.out.say(times(line, count, "%d times"))
	r := &xidRepeat{line: line}
	r.timer = time.AfterFunc(xidPause, func() { x.again(key, r) })
	x.recent[key] = r
}

func times(line string, n uint64, format string) string {
	if n > 1 {
		line += ", " + fmt.Sprintf(format, n)
	}
	return line
}

// again says how often something happened again.
func (x *xids) again(key xidKey, r *xidRepeat) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.log == nil {
		return
	}
	if r.more == 0 {
		delete(x.recent, key)
		return
	}
	x.out.say(fmt.Sprintf("%s, again %d times in %s", r.line, r.more, xidPause))
	r.more = 0
	r.timer.Reset(xidPause)
}

// end is the end of the job. What was only counted is told.
func (x *xids) end() {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.log = nil
	for _, r := range x.recent {
		r.timer.Stop()
		if r.more > 0 {
			x.out.say(fmt.Sprintf("%s, again %d times", r.line, r.more))
		}
	}
}
