package keeper

import (
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/gpulaunch/gpulaunch/launcher/internal/process"
)

// inherited are descendants of this process that are none of the job's. A shell that starts a
// service and then execs gpulaunch leaves it that service as a child, and the service may start
// processes that lose their parents and come to this process, a subreaper, as well. The first
// process of a PID namespace gets the orphans of all that is started in it from outside.
//
// As long as the supervisor lives, the job's own orphans come to the supervisor. So a child of this
// process that is not the supervisor is inherited.
type inherited struct {
	// tracked is true if this process can get children other than the supervisor.
	tracked bool
	alive   map[process.ID]bool
	ticker  *time.Ticker // nil unless tracked
}

// updateInterval is how often to look for inherited processes. An orphan that comes later than
// that before the supervisor is killed is taken for one of the job's.
const updateInterval = time.Second

// begin lists the descendants if there are any. It must be called before there is a supervisor,
// unless there are none.
func (i *inherited) begin(children bool) {
	i.tracked = children || os.Getpid() == 1
	if i.tracked {
		i.ticker = time.NewTicker(updateInterval)
	}
	if children {
		i.alive = listExcept(0)
	}
}

// due returns a channel that receives a value when it is time for an update.
func (i *inherited) due() <-chan time.Time {
	if i.ticker == nil {
		return nil
	}
	return i.ticker.C
}

// update lists the inherited processes anew, and so forgets those that have ended, whose numbers may
// be used again. supervisor must not have been waited for.
func (i *inherited) update(supervisor int) {
	if !i.tracked {
		return
	}
	list := listExcept(supervisor)
	// When it has ended, the job's orphans are children of this process.
	var info unix.Siginfo
	err := unix.Waitid(unix.P_PID, supervisor, &info, unix.WEXITED|unix.WNOHANG|unix.WNOWAIT, nil)
	if err == nil && info.Signo == 0 {
		i.alive = list
	}
}

// spares reports whether a process is inherited.
func (i *inherited) spares(d process.Descendant) bool { return i.alive[d.ID()] }

// listExcept returns the descendants of this process without the supervisor and its descendants.
// Without /proc it returns none, which does no harm, because there is no sweep without /proc.
func listExcept(supervisor int) map[process.ID]bool {
	list, _ := process.DescendantsExcept(unix.Getpid(),
		func(d process.Descendant) bool { return d.PID == supervisor })
	alive := map[process.ID]bool{}
	for _, d := range list {
		alive[d.ID()] = true
	}
	return alive
}
