package nvmltest

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// WaitForCall waits until a call has been made n times to an installed library whose machine has
// LogCalls set; see [CountCalls] for what a call is. A child process may make the calls. The error
// says how many there were when ctx ended.
func WaitForCall(ctx context.Context, libPath, call string, n int) error {
	// The watch begins before the first look at the log, so that no change is missed.
	changes, err := watchFolder(filepath.Dir(libPath))
	if err != nil {
		return err
	}
	defer changes.Close()
	stop := context.AfterFunc(ctx, func() { changes.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	records := make([]byte, 4096) // what they say does not matter
	for {
		calls, err := readCalls(libPath)
		if err != nil {
			return err
		}
		got := count(calls, call)
		if got >= n {
			return nil
		}
		if _, err := changes.Read(records); err != nil {
			return fmt.Errorf("%s was called %d times, want %d: %w", call, got, n, err)
		}
	}
}

// watchFolder returns a file that can be read when a file in the folder was created or written to
// (inotify(7)).
func watchFolder(folder string) (*os.File, error) {
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		return nil, os.NewSyscallError("inotify_init1", err)
	}
	file := os.NewFile(uintptr(fd), "inotify") // non-blocking, so it supports deadlines
	if _, err := unix.InotifyAddWatch(fd, folder, unix.IN_CREATE|unix.IN_MODIFY); err != nil {
		file.Close()
		return nil, os.NewSyscallError("inotify_add_watch", err)
	}
	return file, nil
}
