package spawn

import (
	"errors"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/gpulaunch/gpulaunch/launcher/internal/process"
)

// Job identifies one job in the record of children, by its address.
type Job struct{ _ byte }

// children records the processes that this process has started and not yet waited for, each with
// its job, which is nil for a helper of the launcher itself.
//
// The lock is held from before a fork until the child has been recorded, so that a child that exits
// at once is never taken for an orphan.
var children = struct {
	sync.Mutex
	job map[int]*Job
	// sweeper is the job that ends all descendants of this process that are not recorded. There can
	// be only one, because nothing tells which job an orphan came from.
	sweeper *Job
}{job: map[int]*Job{}}

// ErrSweeping is the error for a second job that sweeps.
var ErrSweeping = errors.New("another job of this process has Config.Subreaper, and would end " +
	"what this one starts: run one after the other")

// BeginSweep makes j the job that sweeps. It returns ErrSweeping if another job sweeps.
func (j *Job) BeginSweep() error {
	children.Lock()
	defer children.Unlock()
	if children.sweeper != nil {
		return ErrSweeping
	}
	children.sweeper = j
	return nil
}

// EndSweep lets another job sweep.
func (j *Job) EndSweep() {
	children.Lock()
	defer children.Unlock()
	if children.sweeper == j {
		children.sweeper = nil
	}
}

// Owns reports whether a process is a worker of this job that has not been waited for.
func (j *Job) Owns(pid int) bool {
	children.Lock()
	defer children.Unlock()
	job, recorded := children.job[pid]
	return recorded && job == j
}

// Spares reports whether this job must leave a process and its descendants alone, because it is a
// helper of the launcher or another job's worker.
func (j *Job) Spares(pid int) bool {
	children.Lock()
	defer children.Unlock()
	job, recorded := children.job[pid]
	return recorded && job != j
}

// forget removes a child that has been waited for from the record.
func forget(pid int) {
	children.Lock()
	defer children.Unlock()
	delete(children.job, pid)
}

// ReapOrphans waits for the exited children that are not recorded, which are descendants of workers
// that have lost their parents. It leaves other children to whoever waits for them.
func ReapOrphans() {
	for reapOrphan() {
	}
}

func reapOrphan() bool {
	children.Lock()
	defer children.Unlock()
	pid := process.PeekEnded()
	if _, recorded := children.job[pid]; pid == 0 || recorded {
		return false
	}
	_, err := process.RetryEINTR(func() (int, error) {
		return unix.Wait4(pid, nil, unix.WNOHANG, nil)
	})
	return err == nil
}
