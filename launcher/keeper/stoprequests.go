package keeper

import (
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/gpulaunch/gpulaunch/launcher/internal/link"
)

// sameRequest is the time within which several signals are one request. One request often arrives
// as several signals: timeout(1) signals the process and then its group, and when a terminal
// closes, both the shell and the kernel send SIGHUP to its jobs.
const sameRequest = 300 * time.Millisecond

// stopRequests counts how often the user has asked for the end.
type stopRequests struct {
	first syscall.Signal // the first signal that asked for the end; 0 before that
	count int
	last  time.Time
}

// add counts a signal that arrived at a time and returns the byte to send to the supervisor: the
// signal itself for the first request, link.Kill for the second, and link.Quit for the third.
// counts is false if the signal belongs to the request before. SIGHUP is never a second request,
// because nobody hangs up twice.
func (r *stopRequests) add(sig syscall.Signal, at time.Time) (b byte, counts bool) {
	if r.count > 0 && (sig == unix.SIGHUP || at.Sub(r.last) < sameRequest) {
		return 0, false
	}
	r.count++
	r.last = at
	switch r.count {
	case 1:
		r.first = sig
		return byte(sig), true
	case 2:
		return link.Kill, true
	}
	return link.Quit, true
}

// quit reports whether nothing is to be waited for any more, because the end has been requested
// three times.
func (r *stopRequests) quit() bool { return r.count >= 3 }
