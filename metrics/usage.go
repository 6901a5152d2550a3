package metrics

import (
	"time"

	"github.com/prometheus/procfs"
)

// usage is what a process has used so far.
type usage struct {
	// cpu is user and system time of the process and of those of its children that
	// it waited for, as the launcher's own figure at its exit.
	cpu time.Duration
	// resident is its resident memory in bytes.
	resident uint64
}

// tick is the unit of the times in /proc/PID/stat, USER_HZ, which is 100 on
// every architecture that Go runs on under Linux (see time(7)).
const tick = time.Second / 100

// readUsage reads /proc/PID/stat; false when the process is gone.
func readUsage(pid int) (usage, bool) {
	p, err := procfs.NewProc(pid)
	if err != nil {
		return usage{}, false
	}
	stat, err := p.Stat()
	if err != nil {
		return usage{}, false
	}
	ticks := time.Duration(stat.UTime+stat.STime) + time.Duration(stat.CUTime+stat.CSTime)
	return usage{cpu: ticks * tick, resident: uint64(stat.ResidentMemory())}, true
}

// sampleWorkers looks at each running worker once.
func (r *Recorder) sampleWorkers() {
	for rank, pid := range r.running() {
		if u, ok := readUsage(pid); ok {
			r.recordUsage(rank, pid, u)
		}
	}
}
