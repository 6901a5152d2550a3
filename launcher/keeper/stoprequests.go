package keeper

import (
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/gpulaunch/gpulaunch/launcher/internal/link"
)

// sameRequest is how far apart two signals must be to be two requests. One request often
// comes as several signals: timeout(1) signals the process and then its group, and when a
// terminal closes, both the shell and the kernel hang up its jobs.
const sameRequest = 300 * time.Millisecond

// stopRequests counts how often the user has asked for the end.
type stopRequests struct {
	first syscall.Signal // that the end was asked for with, 0 before
	count int
	last  time.Time
}

// add takes a signal that came at a time, and gives the byte to send to the supervisor;
// counts is false if the signal belongs to the request before. The first request is the
// signal itself, the second link.Kill, the third link.Quit. A SIGHUP never is a second
// request, because nobody hangs up twice.
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

// quit reports whether nothing is to be waited for any more.
func (r *stopRequests) quit() bool { return r.count >= 3 }
