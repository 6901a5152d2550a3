package process

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// Signal sends a signal to exactly this process. The pidfd refers to one process for good, and the
// start time that is read afterwards shows that the pid had not been reused before. Where a filter
// of system calls denies pidfds (seccomp(2)), the start time alone has to do. Signal returns nil if
// the process is gone, and EPERM if it may not be signalled (kill(2)).
func (d Descendant) Signal(sig syscall.Signal) error {
	fd, err := unix.PidfdOpen(d.PID, 0)
	switch {
	case err == unix.ESRCH:
		return nil
	case Denied(err):
		return d.signalPID(sig)
	case err != nil:
		return err
	}
	defer unix.Close(fd)
	if !d.same() {
		return nil
	}
	err = unix.PidfdSendSignal(fd, sig, nil, 0)
	switch {
	case err == unix.ESRCH:
		return nil
	case Denied(err):
		return d.signalPID(sig)
	}
	return err
}

// Denied reports whether an error from pidfd_open(2) or pidfd_send_signal(2) can mean that a filter
// denies the system call. EPERM from the latter can also mean that the process may not be signalled.
func Denied(err error) bool { return err == unix.EPERM || err == unix.ENOSYS || err == unix.EACCES }

// signalPID does what Signal does, without a pidfd. The pid could be reused between its two steps.
func (d Descendant) signalPID(sig syscall.Signal) error {
	if !d.same() {
		return nil
	}
	if err := unix.Kill(d.PID, sig); err != unix.ESRCH {
		return err
	}
	return nil
}

// same reports whether the pid still belongs to the process.
func (d Descendant) same() bool {
	now, ok := Read(d.PID)
	return ok && now.start == d.start
}
