package process

import (
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// SweepLimit is how long to wait for processes that have been sent SIGKILL. A process that is stuck
// in the kernel (state D) cannot be killed at all.
const SweepLimit = 5 * time.Second

// Sweep kills every descendant of this process, which must be a subreaper.
type Sweep struct {
	// Spare returns true for processes that are left alone, together with their descendants. nil
	// means that there are none.
	Spare func(pid int) bool
	// Reap waits for the children that have ended and are not spared.
	Reap func()
	// AtOnce, if not nil, kills all processes at once, as a control group can.
	AtOnce func()
	// Wake receives a value when a child has ended.
	Wake <-chan os.Signal
	// Limit is how long the sweep may take, usually SweepLimit.
	Limit time.Duration
}

// Run kills until nothing is left. It has to look again and again, because a process may fork
// before SIGKILL reaches it, and its child then becomes a child of this process. ended are the
// processes that were killed, and left are those that did not die within the limit.
func (s Sweep) Run() (ended, left []Descendant) {
	deadline := time.NewTimer(s.Limit)
	defer deadline.Stop()
	seen := map[Descendant]bool{}
	for {
		s.Reap()
		if !HasChildren() {
			return ended, nil
		}
		left = s.remaining()
		if len(left) == 0 {
			return ended, nil
		}
		for _, d := range left {
			if key := (Descendant{PID: d.PID, start: d.start}); d.State != 'Z' && !seen[key] {
				seen[key] = true
				ended = append(ended, d)
			}
		}
		s.kill(left)
		// The end of a grandchild sends no SIGCHLD to this process unless this process has become
		// its parent, so the wait has a limit.
		select {
		case <-s.Wake:
		case <-time.After(10 * time.Millisecond):
		case <-deadline.C:
			return ended, left
		}
	}
}

// remaining returns the descendants. One that has ended counts until it has been waited for, by
// this process or by a parent that is about to end.
func (s Sweep) remaining() []Descendant {
	list, err := DescendantsExcept(unix.Getpid(), s.Spare)
	if err != nil {
		return nil // without /proc, descendants cannot be told from other processes
	}
	return list
}

func (s Sweep) kill(list []Descendant) {
	if s.AtOnce != nil {
		s.AtOnce()
	}
	for _, d := range list {
		_ = d.Signal(unix.SIGKILL) // a process that cannot be signalled stays in the list
	}
}
