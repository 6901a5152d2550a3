//go:build linux && !nonvml

package nvml

import (
	"sync"
	"time"
)

// runningCalls are the calls into NVML that have not returned yet, of all libraries in this
// process. NVML may hang in the kernel, and then these are all that can be known about why.
type runningCalls struct {
	mu    sync.Mutex
	calls [maxRunning]runningCall
}

// maxRunning is how many calls are kept at a time. Few goroutines call NVML at once.
const maxRunning = 16

// runningCall is one call. A free place has the zero time.
type runningCall struct {
	function symbol
	since    time.Time
}

var running runningCalls

// begin records a call and returns its place, or -1 if there is none left.
func (r *runningCalls) begin(s symbol) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	for i := range r.calls {
		if r.calls[i].since.IsZero() {
			r.calls[i] = runningCall{s, time.Now()}
			return i
		}
	}
	return -1
}

// end frees the place of a call.
func (r *runningCalls) end(place int) {
	if place < 0 {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.calls[place].since = time.Time{}
}

// Running returns the C function that was called the longest ago and has not returned yet, and
// when it was called. It reports false if no call is under way.
func Running() (function string, since time.Time, ok bool) {
	running.mu.Lock()
	defer running.mu.Unlock()
	for _, c := range running.calls {
		if !c.since.IsZero() && (!ok || c.since.Before(since)) {
			function, since, ok = symbolNames[c.function], c.since, true
		}
	}
	return function, since, ok
}
