package process

import (
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// SweepLimit bounds the waiting for processes that have been sent SIGKILL. One
// that is stuck in the kernel (state D) cannot be ended by anybody.
const SweepLimit = 5 * time.Second

// Sweep ends every descendant of this process, which is their subreaper.
type Sweep struct {
	// Spare tells the processes that are left alone, with all below them; nil for
	// none.
	Spare func(pid int) bool
	// Reap collects the ended children that are not spared.
	Reap func()
	// AtOnce ends all there are in one stroke, if there is a way; nil if not.
	AtOnce func()
	// Wake has a value when a child has ended.
	Wake <-chan os.Signal
	// Limit is how long it may take, usually SweepLimit.
	Limit time.Duration
}

// Run goes round until nobody is left, because a process may fork before it is
// hit: what it leaves comes here. ended are the processes that were killed, left
// those that would not die within the limit.
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
		// A grandchild's end sends no signal here unless it was handed to us, hence
		// the second look.
		select {
		case <-s.Wake:
		case <-time.After(10 * time.Millisecond):
		case <-deadline.C:
			return ended, left
		}
	}
}

// remaining lists the descendants. One that has ended counts until it has been
// waited for, here or by a parent that is about to end.
func (s Sweep) remaining() []Descendant {
	list, err := DescendantsBut(unix.Getpid(), s.Spare)
	if err != nil {
		return nil // no /proc: nothing can be told apart
	}
	return list
}

func (s Sweep) kill(list []Descendant) {
	if s.AtOnce != nil {
		s.AtOnce()
	}
	for _, d := range list {
		_ = d.Signal(unix.SIGKILL) // one that cannot be reached remains
	}
}
