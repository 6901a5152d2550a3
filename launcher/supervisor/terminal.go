package supervisor

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// ShareTerminal makes this process a member of the keeper's process group if fd is a terminal. A
// process that reads a terminal must be in the terminal's foreground process group, or SIGTTIN
// stops it (termios(3)).
//
// One signal to the group, such as kill -9 %1, then kills both processes, and with them the
// workers, but not what the workers have started.
func (s *Supervisor) ShareTerminal(fd int) error {
	if _, err := unix.IoctlGetTermios(fd, unix.TCGETS); err != nil {
		return nil // it is not a terminal
	}
	return s.joinKeeper()
}

// shareForWriting does what ShareTerminal does if a process outside of the foreground process group
// must not write to the terminal: after stty tostop, SIGTTOU stops it (termios(3), TOSTOP).
func (s *Supervisor) shareForWriting() error {
	for _, fd := range []int{1, 2} {
		t, err := unix.IoctlGetTermios(fd, unix.TCGETS)
		if err == nil && t.Lflag&unix.TOSTOP != 0 {
			return s.joinKeeper()
		}
	}
	return nil
}

// joinKeeper moves this process into the process group of its parent. In a PID namespace, where the
// parent cannot be seen (getppid(2)), the keeper has seen to it.
func (s *Supervisor) joinKeeper() error {
	s.shares = true
	keeper := os.Getppid()
	if keeper == 0 {
		return nil
	}
	group, err := unix.Getpgid(keeper)
	if err == nil {
		err = unix.Setpgid(0, group)
	}
	if err != nil {
		return fmt.Errorf("cannot share the terminal with the launcher's first process: %w", err)
	}
	return nil
}
