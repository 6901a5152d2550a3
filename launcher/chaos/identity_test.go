//go:build linux

package chaos

import (
	"fmt"
	"os"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// identity names a process for good: its pid and when it started.
type identity struct {
	pid   int
	start string
}

// statFields are the fields of proc_pid_stat(5) from the third on; nil when the
// process is gone.
func statFields(pid int) []string {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return nil
	}
	return strings.Fields(string(data[strings.LastIndexByte(string(data), ')')+1:]))
}

func identify(pid int) (identity, bool) {
	fields := statFields(pid)
	if len(fields) < 20 {
		return identity{}, false
	}
	return identity{pid: pid, start: fields[19]}, true
}

// state is the letter for what a process does; 0 when it is gone.
func (id identity) state() byte {
	fields := statFields(id.pid)
	if len(fields) < 20 || fields[19] != id.start {
		return 0
	}
	return fields[0][0]
}

// signal reaches this very process or none.
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
