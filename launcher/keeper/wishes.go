package keeper

import (
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/gpulaunch/gpulaunch/launcher/internal/link"
)

// sameWish is how far apart two signals must be to be two wishes. One wish often
// comes as several: timeout(1) signals the process and then its group, a shell
// whose terminal closes hangs up its jobs and so does the kernel.
const sameWish = 300 * time.Millisecond

// wishes counts how often the user has asked for the end.
type wishes struct {
	first syscall.Signal // the signal that he asked with, 0 before
	asks  int
	last  time.Time
}

// add takes a signal that came at a time, and gives what the supervisor is to
// be told; counts is false if it is the same wish once more. The first wish is
// the signal itself, the second link.Kill, the third link.Quit. A SIGHUP is never a
// second one: nobody hangs up twice.
func (w *wishes) add(sig syscall.Signal, at time.Time) (wish byte, counts bool) {
	if w.asks > 0 && (sig == unix.SIGHUP || at.Sub(w.last) < sameWish) {
		return 0, false
	}
	w.asks++
	w.last = at
	switch w.asks {
	case 1:
		w.first = sig
		return byte(sig), true
	case 2:
		return link.Kill, true
	}
	return link.Quit, true
}

// quit reports whether nothing is to be waited for any more.
func (w *wishes) quit() bool { return w.asks >= 3 }
