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

// The mechanisms that withoutMain can take from the launcher. The shipped program
// has no switch for them; the kernel is told to say yes to the system call behind
// each and to do nothing.
const (
	noSubreaper   = "subreaper"
	noDeathSignal = "death signal"
	noSweep       = "sweep" // KILL and all else by pidfd
	noKeeper      = "keeper"
)

// pretend is a filter that makes the system call nr, if its first argument is
// arg or arg is negative, return 0 without an effect (seccomp(2)).
func pretend(nr, arg int) []unix.SockFilter {
	const (
		load, jump, ret = unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, unix.BPF_RET | unix.BPF_K
		nrAt, arg0At    = 0, 16 // in struct seccomp_data, little-endian
	)
	filter := []unix.SockFilter{
		{Code: load, K: nrAt},
		{Code: jump, K: uint32(nr), Jt: 0, Jf: 3},
		{Code: load, K: arg0At},
		{Code: jump, K: uint32(arg), Jt: 0, Jf: 1},
		{Code: ret, K: unix.SECCOMP_RET_ERRNO}, // with 0 for the errno
		{Code: ret, K: unix.SECCOMP_RET_ALLOW},
	}
	if arg < 0 {
		filter[1].Jf = 1
		filter = append(filter[:2], filter[4:]...)
	}
	return filter
}

// withoutMain gives up a mechanism, for this process and all below it, and becomes
// another program.
func withoutMain(mechanism string, argv []string) int {
	// A filter belongs to a thread; the one that calls execve is the one that stays.
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
	fmt.Fprintln(os.Stderr, "without", mechanism, err)
	return 2
}

func install(filter []unix.SockFilter) error {
	prog := &unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	err := unix.Prctl(unix.PR_SET_SECCOMP, unix.SECCOMP_MODE_FILTER, reflect.ValueOf(prog).Pointer(), 0, 0)
	runtime.KeepAlive(prog)
	return err
}
