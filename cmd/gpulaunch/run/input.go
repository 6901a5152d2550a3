//go:build linux

package run

import (
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// warnOfInput says once that the standard input has data which no worker gets.
func (j *Job) warnOfInput() {
	if j.stdin != "none" || j.saidInput || !hasUnread(os.Stdin) {
		return
	}
	j.saidInput = true
	j.out.say("warning: the standard input has data that no worker reads: use --stdin=rank0, or " +
		"start gpulaunch with </dev/null")
}

// hasUnread reports whether a pipe or a regular file has data that has not been read. What jobs
// inherit from cron, systemd and CI is most often /dev/null, or a pipe to which nobody ever writes.
// A terminal is not asked: what is typed there is for the shell.
func hasUnread(f *os.File) bool {
	info, err := f.Stat()
	if err != nil {
		return false
	}
	switch mode := info.Mode(); {
	case mode.IsRegular():
		at, err := f.Seek(0, io.SeekCurrent)
		return err == nil && info.Size() > at
	case mode&os.ModeNamedPipe != 0:
		n, err := unix.IoctlGetInt(int(f.Fd()), unix.TIOCINQ) // FIONREAD, see ioctl_tty(2)
		return err == nil && n > 0
	}
	return false
}
