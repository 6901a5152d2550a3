package process

import (
	"os"
	"runtime"
	"slices"
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
	Spare func(Descendant) bool
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
	seen := map[ID]bool{}
	for {
		s.Reap()
		if !HasChildren() {
			return ended, nil
		}
		left = s.remaining()
		if len(left) == 0 {
			if !HasOrphans(s.Reap, s.Spare) {
				return ended, nil
			}
			left = Chase(s.Reap, s.Spare)
		}
		s.kill(left)
		for _, d := range append(left, Chase(s.Reap, s.Spare)...) {
			if d.State != 'Z' && !seen[d.ID()] {
				seen[d.ID()] = true
				ended = append(ended, d)
			}
		}
		// The end of a grandchild sends no SIGCHLD to this process unless this process has become
		// its parent, so the wait has a limit.
		select {
		case <-s.Wake:
		case <-time.After(10 * time.Millisecond):
		case <-deadline.C:
			return Without(ended, left), left
		}
	}
}

// chaseTime is how long Chase goes on without a pause.
const chaseTime = 100 * time.Millisecond

// Chase kills the orphans among the children of this process again and again, without a pause and
// without looking through all of /proc, except those that spare returns true for. A process that forks a successor
// and exits, and so on, is gone before anything slower comes to it, but is among the children of
// this process, a subreaper, for its whole life. Chase returns what it has killed. reap waits for
// children that have ended.
func Chase(reap func(), spare func(Descendant) bool) (killed []Descendant) {
	defer hurry()()
	seen := map[int]bool{}
	for end := time.Now().Add(chaseTime); time.Now().Before(end); {
		children, err := adoptedPIDs()
		if err != nil {
			return killed // the slower way has to do
		}
		before := len(killed)
		for _, pid := range children {
			if seen[pid] {
				continue
			}
			seen[pid] = true
			d, ok := Read(pid)
			if ok && d.State != 'Z' && (spare == nil || !spare(d)) &&
				d.Signal(unix.SIGKILL) == nil {
				killed = append(killed, d)
			}
		}
		if len(killed) == before {
			return killed
		}
		reap()
	}
	return killed
}

// HasOrphans reports whether this process, a subreaper, has children that are not spared, ended or
// not. A list of all processes cannot tell that there are none: a process that starts a successor
// and ends while /proc is being read is not in the list any more, and its successor not yet. But
// until it has been reaped, it is among the children of this process, and so is its successor then.
// Where the kernel does not list children, HasOrphans returns false.
func HasOrphans(reap func(), spare func(Descendant) bool) bool {
	reap()
	children, err := Adopted()
	return err == nil && slices.ContainsFunc(children, func(d Descendant) bool {
		return spare == nil || !spare(d)
	})
}

// hurry gives the calling goroutine a thread of its own with the highest priority, as far as that is
// permitted, because those that it chases also want the CPUs. The function that it returns undoes
// it. In Linux, each thread has a nice value (setpriority(2)).
func hurry() (done func()) {
	runtime.LockOSThread()
	usual, err := unix.Getpriority(unix.PRIO_PROCESS, 0)
	if err == nil {
		err = unix.Setpriority(unix.PRIO_PROCESS, 0, -20)
	}
	if err != nil {
		return runtime.UnlockOSThread
	}
	return func() {
		// The system call returns 20 minus the nice value (getpriority(2)).
		_ = unix.Setpriority(unix.PRIO_PROCESS, 0, 20-usual)
		runtime.UnlockOSThread()
	}
}

// Without returns the processes of list that are not among others.
func Without(list, others []Descendant) []Descendant {
	return slices.DeleteFunc(slices.Clone(list), func(d Descendant) bool {
		return slices.ContainsFunc(others, func(o Descendant) bool { return o.ID() == d.ID() })
	})
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
