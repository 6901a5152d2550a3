package supervisor

import (
	"errors"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/gpulaunch/gpulaunch/launcher/internal/link"
	"github.com/gpulaunch/gpulaunch/launcher/keeper/early"
)

// Connect makes this process the supervisor of the keeper that has the other end of the descriptor
// fd. signals are the signals that this process subscribes to. The error is for a user who has
// called the subcommand by hand.
func Connect(fd string, signals *early.Signals) (*Supervisor, error) {
	n, err := strconv.Atoi(fd)
	if err == nil {
		_, err = unix.GetsockoptInt(n, unix.SOL_SOCKET, unix.SO_TYPE)
	}
	if err != nil || n < 3 {
		return nil,
			errors.New("supervise is started by gpulaunch run, not by hand: use gpulaunch run")
	}
	unix.CloseOnExec(n)
	if linkClosed(n) {
		os.Exit(125) // the keeper was killed before this process came to anything
	}
	s := New()
	if err := s.shareForWriting(); err != nil {
		return nil, err
	}
	s.keeper = os.NewFile(uintptr(n), "link to the keeper")
	s.childEnded = signals.ChildEnded
	if err := s.BecomeSubreaper(); err != nil {
		return nil, err
	}
	s.keeperListens = make(chan struct{})
	s.subscribed = func() { signals.Await(); <-s.keeperListens }
	go s.loop(signals.Direct)
	return s, nil
}

// linkClosed reports whether the other end of a socket is closed and everything has been read.
func linkClosed(fd int) bool {
	n, _, err := unix.Recvfrom(fd, make([]byte, 1), unix.MSG_PEEK|unix.MSG_DONTWAIT)
	return n == 0 && err == nil
}

// loop handles what the keeper sends and the signals that this process receives, as long as the
// process lives.
func (s *Supervisor) loop(direct chan os.Signal) {
	// Because it was started from /proc/self/exe, ps and top would call the process exe. Renaming
	// it is not urgent.
	_ = os.WriteFile("/proc/self/comm", []byte("gpulaunch"), 0)
	fromKeeper := make(chan byte, 64)
	go s.readLink(fromKeeper)
	hangup := make(<-chan time.Time)
	for {
		select {
		case sig := <-direct:
			if sig == unix.SIGHUP && fromKeeper != nil {
				hangup = time.After(hangupDelay)
				continue
			}
			s.Request(directRequest(sig.(syscall.Signal)))
		case <-hangup:
			s.Request(directRequest(unix.SIGHUP))
		case b, ok := <-fromKeeper:
			if !ok {
				fromKeeper, hangup = nil, nil
				s.Request(keeperLost)
				continue
			}
			s.Request(s.keeperRequest(b))
		}
	}
}

// hangupDelay is how long a SIGHUP that was sent to this process waits for the end of the link. If
// the keeper dies while this process is stopped, the kernel sends SIGHUP and SIGCONT to its process
// group (setpgid(2), orphaned process groups). Nobody asks for anything then, and the link may
// report its end a moment later.
const hangupDelay = 50 * time.Millisecond

// readLink passes on the bytes that the keeper writes. It closes fromKeeper when the keeper is gone
// or cannot be read.
func (s *Supervisor) readLink(fromKeeper chan<- byte) {
	listens := sync.OnceFunc(func() { close(s.keeperListens) })
	defer listens() // nobody should wait for a keeper that is gone
	defer close(fromKeeper)
	buf := make([]byte, 64)
	for {
		n, err := s.keeper.Read(buf)
		for _, b := range buf[:n] {
			if b == link.Listening {
				listens()
			} else {
				fromKeeper <- b
			}
		}
		if err != nil {
			return
		}
	}
}

// keeperLost is the request to send when the keeper is gone.
var keeperLost = Request{Signal: unix.SIGTERM, Direct: true, Hurry: true,
	Reason: "the launcher's first process is gone"}

// directRequest returns the request for a signal that was sent to this process and not to the
// keeper.
func directRequest(sig syscall.Signal) Request { return Request{Signal: sig, Direct: true} }

// keeperRequest returns the request for a byte from the link. A request to kill or to quit has no
// signal of its own, because the first request has already decided the signal.
func (s *Supervisor) keeperRequest(b byte) Request {
	switch b {
	case link.Kill:
		return Request{Signal: unix.SIGTERM, Kill: true, Reason: "asked again"}
	case link.Quit:
		return Request{Signal: unix.SIGTERM, Quit: true}
	}
	r := Request{Signal: syscall.Signal(b)}
	if r.Signal == unix.SIGTSTP {
		r.Done = func() { s.send(link.Suspended, "") }
	}
	return r
}

// send sends the keeper a line, in one write. Without a keeper it does nothing.
func (s *Supervisor) send(word, about string) {
	if s.keeper != nil && !strings.Contains(about, "\n") {
		_, _ = s.keeper.WriteString(strings.TrimSpace(word+" "+about) + "\n")
	}
}

// EnterNamespace asks the keeper to start the supervisor again in a PID namespace of its own. With
// the mode auto, the keeper starts it again outside of one if it must. This process has to end
// then, and may not have started anything.
func (s *Supervisor) EnterNamespace(mode string) {
	if s.shares {
		s.send(link.SharedNamespace, mode)
	} else {
		s.send(link.Namespace, mode)
	}
}

// CgroupMade tells the keeper the path of the job's control group. The keeper kills its members and
// removes it at the end.
func (s *Supervisor) CgroupMade(path string) { s.send(link.Cgroup, path) }

// FolderMade tells the keeper the path of the job's private folder. The keeper removes it if this
// process cannot.
func (s *Supervisor) FolderMade(path string) { s.send(link.Folder, path) }

// LeaveBehind tells the keeper that the job has ended well and that the processes that it left
// behind may go on.
func (s *Supervisor) LeaveBehind() { s.send(link.LeaveBehind, "") }

// Exit tells the keeper that this process is about to end normally with code. Nothing may be sent
// after it. If the process ends without it, the keeper reports a crash.
func (s *Supervisor) Exit(code int) { s.send(link.Exit, strconv.Itoa(code)) }
