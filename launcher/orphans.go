package launcher

import (
	"golang.org/x/sys/unix"

	"github.com/gpulaunch/gpulaunch/launcher/internal/process"
)

// BecomeSubreaper makes this process the one that descendants come to when they
// lose their parent (prctl(2), PR_SET_CHILD_SUBREAPER). The command's processes
// are subreapers; a program that uses this package as a library is not, unless it
// asks, because it then adopts the descendants of all its children.
func BecomeSubreaper() error { return process.BecomeSubreaper() }

// reapOrphans collects the ended children that are not s's own: adopted
// descendants of workers. An own child is left to whoever waits for it.
func (s *Spawner) reapOrphans() {
	for {
		if !s.reapOrphan() {
			return
		}
	}
}

func (s *Spawner) reapOrphan() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	pid := process.PeekEnded()
	if pid == 0 || s.owned[pid] != stranger {
		return false
	}
	_, err := process.RetryEINTR(func() (int, error) { return unix.Wait4(pid, nil, unix.WNOHANG, nil) })
	return err == nil
}
