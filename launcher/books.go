package launcher

import (
	"errors"
	"sync"
)

// books are kept of the children that this process has started and not yet waited
// for, of all spawners and jobs together, because wait(2) knows neither: whoever
// reaps orphans must not take somebody else's child for one. A worker is entered
// with its job, a helper of the launcher with none.
//
// The lock is held from before a fork until the child has been entered, so that one
// that ended at once is never mistaken.
var books = struct {
	sync.Mutex
	owned map[int]*stage
	// sweeping is the job that ends all strange descendants of this process. There can
	// be only one: nobody knows whose orphan an orphan was.
	sweeping *stage
}{owned: map[int]*stage{}}

var errSweeping = errors.New("another job of this process has Config.Subreaper, and would end what this one starts: run one after the other")

// sweep makes s the job that sweeps.
func (s *stage) sweep() error {
	books.Lock()
	defer books.Unlock()
	if books.sweeping != nil {
		return errSweeping
	}
	books.sweeping = s
	return nil
}

// swept ends that.
func (s *stage) swept() {
	books.Lock()
	defer books.Unlock()
	if books.sweeping == s {
		books.sweeping = nil
	}
}

// worksFor reports whether a process is a worker of this job.
func (s *stage) worksFor(pid int) bool {
	books.Lock()
	defer books.Unlock()
	job, owned := books.owned[pid]
	return owned && job == s
}

// spares reports whether a process, and all below it, is none of this job's
// business: a helper, or another job's worker.
func (s *stage) spares(pid int) bool {
	books.Lock()
	defer books.Unlock()
	job, owned := books.owned[pid]
	return owned && job != s
}
