//go:build linux

package chaos

import (
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/gpulaunch/gpulaunch/launcher/launchertest"
)

// identity identifies a process for all time, also after its pid has been reused.
type identity struct {
	pid   int
	start string // field 22 of proc_pid_stat(5)
}

// startIndex is the index of the start time in the result of launchertest.Stat.
const startIndex = 22 - 3

func identify(pid int) (identity, bool) {
	fields := launchertest.Stat(pid)
	if len(fields) <= startIndex {
		return identity{}, false
	}
	return identity{pid: pid, start: fields[startIndex]}, true
}

// state returns the letter for the process's state (proc_pid_stat(5)), or 0 if it does not exist
// any more.
func (id identity) state() byte {
	fields := launchertest.Stat(id.pid)
	if len(fields) <= startIndex || fields[startIndex] != id.start {
		return 0
	}
	return fields[0][0]
}

// signal sends a signal to the process, and never to another one with the same pid.
func (id identity) signal(sig syscall.Signal) {
	fd, err := unix.PidfdOpen(id.pid, 0)
	if err != nil {
		return
	}
	defer unix.Close(fd)
	if id.state() != 0 {
		_ = unix.PidfdSendSignal(fd, sig, nil, 0)
	}
}
