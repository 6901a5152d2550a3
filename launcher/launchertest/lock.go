//go:build linux

package launchertest

import (
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// HoldLock locks the file at path for workers that call [AwaitEnd], until the returned file is
// closed or the process ends. holder is the pid of the process whose end they wait for, or 0 if
// they wait for the lock alone.
func HoldLock(path string, holder int) *os.File {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err == nil {
		err = unix.Flock(int(f.Fd()), unix.LOCK_EX)
	}
	if err == nil {
		_, err = fmt.Fprint(f, holder)
	}
	if err != nil {
		panic(err)
	}
	return f
}

// AwaitFile waits until the file at path exists and is not empty.
func AwaitFile(path string) {
	if !Poll(func() bool { info, err := os.Stat(path); return err == nil && info.Size() > 0 }) {
		panic(fmt.Sprintf("%s is empty or missing after %s", path, Patience))
	}
}

// AwaitEnd waits until the process that holds the lock at path has ended.
func AwaitEnd(path string) {
	AwaitFile(path)
	f, err := os.Open(path)
	if err == nil {
		err = unix.Flock(int(f.Fd()), unix.LOCK_EX)
	}
	if err != nil {
		panic(err)
	}
	holder, _ := io.ReadAll(f)
	if string(holder) == "0" {
		return
	}
	// The lock is free and the process is in state Z before all of its threads have ended. All of
	// it has ended only when it has been waited for, and then /proc does not list it any more.
	ended := Poll(func() bool { _, err := os.Stat("/proc/" + string(holder)); return err != nil })
	if !ended {
		panic(fmt.Sprintf("process %s still exists %s after it gave up the lock", holder, Patience))
	}
}
