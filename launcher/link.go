package launcher

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// The link between keeper and supervisor is a socket pair. The keeper writes one
// byte for each signal that it got, its number; the supervisor writes one byte
// when all workers are stopped and the keeper may stop itself. Signals come over
// the link, and not only as signals, because both processes are in the terminal's
// foreground group: one Ctrl-C reaches both, and only the link can be counted.

// suspended is what the supervisor writes.
const suspended = 's'

// forwarded are the signals that a launcher acts on or passes on.
var forwarded = []os.Signal{
	unix.SIGTERM, unix.SIGINT, unix.SIGHUP, unix.SIGQUIT,
	unix.SIGUSR1, unix.SIGUSR2, unix.SIGWINCH, unix.SIGCONT, unix.SIGTSTP,
}

// listen subscribes to the forwarded signals, except for those that whoever
// started the launcher has had ignored (nohup does that with SIGHUP, a shell
// with SIGINT for a background job).
func listen(c chan<- os.Signal) {
	for _, sig := range forwarded {
		if !signal.Ignored(sig) {
			signal.Notify(c, sig)
		}
	}
}

// Supervise makes this process the supervisor of the keeper at the other end
// of the descriptor fd, and gives what the keeper and others want of it. Call it
// once and first thing.
func Supervise(fd string) (<-chan Control, error) {
	n, err := strconv.Atoi(fd)
	if err == nil {
		_, err = unix.GetsockoptInt(n, unix.SOL_SOCKET, unix.SO_TYPE)
	}
	if err != nil || n < 3 {
		return nil, errors.New("supervise is started by gpulaunch run, not by hand: use gpulaunch run")
	}
	unix.CloseOnExec(n)
	if err := BecomeSubreaper(); err != nil {
		return nil, err
	}
	control := make(chan Control, 64)
	direct := make(chan os.Signal, 64)
	listen(direct)
	// Writing to a closed standard output must give an error, not end the process
	// with the workers still running (see package os/signal).
	signal.Notify(make(chan os.Signal, 1), unix.SIGPIPE)
	go func() {
		for sig := range direct {
			control <- Control{Signal: sig.(syscall.Signal), Direct: true}
		}
	}()
	go readLink(os.NewFile(uintptr(n), "link to the keeper"), control)
	return control, nil
}

// readLink turns what the keeper writes into wishes, for the process's life.
func readLink(link *os.File, control chan<- Control) {
	buf := make([]byte, 64)
	for {
		n, err := link.Read(buf)
		for _, b := range buf[:n] {
			c := Control{Signal: syscall.Signal(b)}
			if c.Signal == unix.SIGTSTP {
				c.Done = func() { _, _ = link.Write([]byte{suspended}) }
			}
			control <- c
		}
		if err == nil {
			continue
		}
		reason := "the launcher's first process is gone"
		if err != io.EOF {
			reason = fmt.Sprintf("the launcher's first process cannot be heard: %v", err)
		}
		control <- Control{Signal: unix.SIGTERM, Direct: true, Reason: reason}
		return
	}
}
