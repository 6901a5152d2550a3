package process

import (
	"fmt"
	"reflect"

	"golang.org/x/sys/unix"
)

// BecomeSubreaper makes this process the parent of descendants that lose their own (prctl(2),
// PR_SET_CHILD_SUBREAPER). The keeper and the supervisor are subreapers. A program that uses
// package launcher as a library is one only with Config.Subreaper.
func BecomeSubreaper() error {
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("cannot become the subreaper of the workers' descendants: %w", err)
	}
	return nil
}

// PeekEnded returns the pid of a child that has ended, without reaping it (waitid(2), WNOWAIT), or
// 0 if there is none.
func PeekEnded() int {
	var info unix.Siginfo
	err := unix.Waitid(unix.P_ALL, 0, &info, unix.WEXITED|unix.WNOHANG|unix.WNOWAIT, nil)
	if err != nil || info.Signo == 0 {
		return 0
	}
	return siginfoPID(info)
}

// HasChildren reports whether this process has any child, ended or not.
func HasChildren() bool {
	var info unix.Siginfo
	err := unix.Waitid(unix.P_ALL, 0, &info, unix.WEXITED|unix.WNOHANG|unix.WNOWAIT, nil)
	return err != unix.ECHILD
}

// siginfoPID returns si_pid, which follows the three numbers and the padding of every siginfo_t on
// 64-bit Linux (include/uapi/asm-generic/siginfo.h). In x/sys that part has no name, and reflection
// reads it without unsafe.
func siginfoPID(info unix.Siginfo) int {
	union := reflect.ValueOf(info).Field(4)
	var pid uint32
	for i := range 4 {
		pid |= uint32(union.Index(i).Uint()) << (8 * i) // amd64 and arm64 are little-endian
	}
	return int(int32(pid))
}
