package spawn

import (
	"errors"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/gpulaunch/gpulaunch/launcher/internal/process"
)

// Job stands for one job in the record of children: its address is its identity.
type Job struct{ _ byte }

// children are the processes that this process has started and not yet waited for, each
// with its job; nil for a helper of the launcher itself.
//
// The lock is held from before a fork until the child has been recorded, so that a child
// that exits at once is never mistaken for an orphan.
var children = struct {
	sync.Mutex
	job map[int]*Job
	// sweeper is the job that ends all descendants of this process that are nobody's.
	// There can be only one, because nobody knows whose orphan an orphan was.
	sweeper *Job
}{job: map[int]*Job{}}

// ErrSweeping is the error for a second job that wants to sweep.
var ErrSweeping = errors.New("another job of this process has Config.Subreaper, and would end " +
	"what this one starts: run one after the other")

// BeginSweep makes j the job that sweeps, or fails with ErrSweeping.
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

// Spares reports whether a process, and all below it, is none of this job's business: a
// helper of the launcher, or another job's worker.
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

// ReapOrphans collects the exited children that nobody has started: adopted descendants
// of workers. Others are left to whoever waits for them.
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
