//go:build linux

package launchertest

import (
	"fmt"
	"os"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/gpulaunch/gpulaunch/gpu/nvml/nvmltest"
)

// OpenTerminal returns the two ends of a pseudo terminal (pty(7)): the master, on which a test
// types and sees what a user would, and the slave, which is the terminal for programs. Closing the
// master is what happens when the window is closed, and ends a read that is under way. Both are
// closed when the test ends. The test is skipped if there are no pseudo terminals.
func OpenTerminal(t testing.TB) (master, slave *os.File) {
	t.Helper()
	const flags = unix.O_RDWR | unix.O_NOCTTY | unix.O_CLOEXEC
	// Only a read of a non-blocking file ends when the file is closed, see os.NewFile.
	fd, err := unix.Open("/dev/ptmx", flags|unix.O_NONBLOCK, 0)
	if err != nil {
		nvmltest.Unavailable(t, "no pseudo terminal can be had here: "+err.Error())
	}
	master = os.NewFile(uintptr(fd), "terminal")
	t.Cleanup(func() { master.Close() })
	n, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err == nil {
		err = unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0)
	}
	if err == nil {
		slave, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), flags, 0)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { slave.Close() })
	return master, slave
}
