//go:build linux

package launchertest

import (
	"errors"
	"strconv"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Gone waits for processes to be gone, zombies included.
func Gone(t testing.TB, pids ...string) {
	t.Helper()
	deadline := time.Now().Add(Patience)
	for _, text := range pids {
		pid, err := strconv.Atoi(text)
		if err != nil {
			t.Fatal(err)
		}
		fd, err := unix.PidfdOpen(pid, 0)
		if errors.Is(err, unix.ESRCH) {
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		n, err := 0, error(unix.EINTR)
		for err == unix.EINTR {
			left := int(time.Until(deadline).Milliseconds())
			n, err = unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, max(left, 0))
		}
		if n == 0 || err != nil {
			t.Errorf("process %d still lives (%v)", pid, err)
		}
		unix.Close(fd)
	}
}
