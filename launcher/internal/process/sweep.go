package process

import (
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// SweepLimit bounds the waiting for processes that have been sent SIGKILL. One
// that is stuck in the kernel (state D) cannot be ended by anybody.
const SweepLimit = 5 * time.Second

// Sweep ends every descendant of this process but those of spare, whose reaping
// is the caller's business, and reaps with reap what comes to this process as
// its subreaper. It goes round because a process may fork before it is hit: what
// it leaves comes here. ended are the processes that were killed, left those
// that would not die within the limit. wake has a value when a child has ended.
func Sweep(spare func(pid int) bool, reap func(), wake <-chan os.Signal, limit time.Duration) (ended, left []Descendant) {
	self := unix.Getpid()
	deadline := time.NewTimer(limit)
	defer deadline.Stop()
	seen := map[Descendant]bool{}
	for {
		reap()
		if left = nil; !HasChildren() {
			return ended, nil
		}
		list, err := Descendants(self)
		if err != nil {
			return ended, left // no /proc: nothing can be told apart
		}
		for _, d := range list {
			if spare(d.PID) {
				continue
			}
			// One that has ended counts until it has been waited for, here or by a
			// parent that is about to end.
			left = append(left, d)
			if d.State == 'Z' {
				continue
			}
			_ = d.Signal(unix.SIGKILL) // one that cannot be reached stays in left
			if key := (Descendant{PID: d.PID, start: d.start}); !seen[key] {
				seen[key] = true
				ended = append(ended, d)
			}
		}
		if len(left) == 0 {
			return ended, nil
		}
		// A grandchild's end sends no signal here unless it was handed to us, hence
		// the second look.
		select {
		case <-wake:
		case <-time.After(10 * time.Millisecond):
		case <-deadline.C:
			return ended, left
		}
	}
}
