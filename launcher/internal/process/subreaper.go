package process

import (
	"fmt"
	"reflect"

	"golang.org/x/sys/unix"
)

// BecomeSubreaper makes this process the one that descendants come to when they
// lose their parent (prctl(2), PR_SET_CHILD_SUBREAPER). The keeper and the
// supervisor are subreapers; a program that uses this package as a library is
// not, unless it asks.
func BecomeSubreaper() error {
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("cannot become the subreaper of the workers' descendants: %w", err)
	}
	return nil
}

// PeekEnded gives the pid of a child that has ended without collecting it
// (waitid(2), WNOWAIT), 0 when there is none.
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

// siginfoPID reads si_pid, which follows the three numbers and the padding of
// every siginfo_t on 64-bit Linux (include/uapi/asm-generic/siginfo.h). x/sys
// leaves that part without a name; reflection reads it without unsafe.
func siginfoPID(info unix.Siginfo) int {
	union := reflect.ValueOf(info).Field(4)
	var pid uint32
	for i := range 4 {
		pid |= uint32(union.Index(i).Uint()) << (8 * i) // amd64 and arm64 are little-endian
	}
	return int(int32(pid))
}
