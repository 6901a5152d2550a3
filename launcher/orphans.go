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

// reapOrphans collects the ended children that nobody has started: adopted
// descendants of workers. Others are left to whoever waits for them.
func reapOrphans() {
	for reapOrphan() {
	}
}

func reapOrphan() bool {
	books.Lock()
	defer books.Unlock()
	pid := process.PeekEnded()
	if _, owned := books.owned[pid]; pid == 0 || owned {
		return false
	}
	_, err := process.RetryEINTR(func() (int, error) { return unix.Wait4(pid, nil, unix.WNOHANG, nil) })
	return err == nil
}
