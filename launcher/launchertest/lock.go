//go:build linux

package launchertest

import (
	"fmt"
	"io"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// HoldLock holds the lock that workers wait for until the file is closed, and tells
// them whose end they wait for; 0 is nobody's.
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

// AwaitFile waits until a file holds something.
func AwaitFile(path string) {
	for {
		if info, err := os.Stat(path); err == nil && info.Size() > 0 {
			return
		}
		<-time.After(5 * time.Millisecond)
	}
}

// AwaitEnd waits until the process that held the lock has ended.
func AwaitEnd(path string) {
	AwaitFile(path)
	f, err := os.Open(path)
	if err == nil {
		err = unix.Flock(int(f.Fd()), unix.LOCK_EX)
	}
	if err != nil {
		panic(err)
	}
	// A lock is released before its holder can be waited for, and a process is in state
	// Z before its threads have ended: only one that has been waited for has ended.
	holder, _ := io.ReadAll(f)
	for string(holder) != "0" {
		if _, err := os.Stat("/proc/" + string(holder)); err != nil {
			return
		}
		<-time.After(time.Millisecond)
	}
}
