//go:build linux

package chaos

import (
	"fmt"
	"os"
	"reflect"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"
)

// The mechanisms of the launcher that can be switched off. The launcher has no options for that.
// Instead, a filter in the kernel makes the mechanism's system call return success without doing
// anything.
const (
	noSubreaper   = "subreaper"
	noDeathSignal = "death signal"
	noSweep       = "sweep" // also switches off all other signals that are sent with a pidfd
	noKeeper      = "keeper"
)

// pretend returns a filter that makes the system call nr return 0 without any effect (seccomp(2)).
// If arg is not negative, the filter applies only to calls whose first argument is arg.
func pretend(nr, arg int) []unix.SockFilter {
	const (
		load = unix.BPF_LD | unix.BPF_W | unix.BPF_ABS
		jump = unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K
		ret  = unix.BPF_RET | unix.BPF_K
		// Offsets in struct seccomp_data, on a little-endian machine.
		nrAt, arg0At = 0, 16
	)
	filter := []unix.SockFilter{
		{Code: load, K: nrAt},
		{Code: jump, K: uint32(nr), Jt: 0, Jf: 3},
		{Code: load, K: arg0At},
		{Code: jump, K: uint32(arg), Jt: 0, Jf: 1},
		{Code: ret, K: unix.SECCOMP_RET_ERRNO}, // the errno is 0
		{Code: ret, K: unix.SECCOMP_RET_ALLOW},
	}
	if arg < 0 {
		filter[1].Jf = 1
		filter = append(filter[:2], filter[4:]...)
	}
	return filter
}

// withoutMain switches off mechanisms for this process and all of its descendants, and executes
// another program.
func withoutMain(mechanism string, argv []string) int {
	// A filter belongs to a thread, and execve(2) keeps only the thread that calls it.
	runtime.LockOSThread()
	filters := map[string][]unix.SockFilter{
		noSubreaper:   pretend(unix.SYS_PRCTL, unix.PR_SET_CHILD_SUBREAPER),
		noDeathSignal: pretend(unix.SYS_PRCTL, unix.PR_SET_PDEATHSIG),
		noSweep:       pretend(unix.SYS_PIDFD_SEND_SIGNAL, -1),
	}
	err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
	for name := range strings.SplitSeq(mechanism, ",") {
		if err == nil {
			err = install(filters[name])
		}
	}
	if err == nil {
		err = unix.Exec(argv[0], argv, os.Environ())
	}
	fmt.Fprintf(os.Stderr, "cannot execute %s without %s: %v\n", argv[0], mechanism, err)
	return 2
}

func install(filter []unix.SockFilter) error {
	prog := &unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	address := reflect.ValueOf(prog).Pointer()
	err := unix.Prctl(unix.PR_SET_SECCOMP, unix.SECCOMP_MODE_FILTER, address, 0, 0)
	runtime.KeepAlive(prog)
	return err
}
