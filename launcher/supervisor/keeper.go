package supervisor

import (
	"errors"
	"os"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/gpulaunch/gpulaunch/launcher/internal/link"
	"github.com/gpulaunch/gpulaunch/launcher/keeper/early"
)

// Connect makes this process the supervisor of the keeper at the other end of the
// descriptor fd. signals are what it has subscribed to.
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
	s := New()
	s.keeper = os.NewFile(uintptr(n), "link to the keeper")
	s.childEnded = signals.ChildEnded
	if err := s.BecomeSubreaper(); err != nil {
		return nil, err
	}
	s.subscribed = signals.Await
	go s.loop(signals.Direct)
	return s, nil
}

// loop receives all that the keeper and signals want, for the process's life.
func (s *Supervisor) loop(direct chan os.Signal) {
	// Started from /proc/self/exe, the process is called exe in ps and top. That can wait.
	_ = os.WriteFile("/proc/self/comm", []byte("gpulaunch"), 0)
	said := make(chan byte, 64)
	go s.readLink(said)
	for {
		select {
		case sig := <-direct:
			s.Request(requestOfSignal(sig.(syscall.Signal)))
		case b, ok := <-said:
			if !ok {
				said = nil
				s.Request(keeperLost)
				continue
			}
			s.Request(s.requestOf(b))
		}
	}
}

// readLink passes on what the keeper writes. An error comes to the same as its end.
func (s *Supervisor) readLink(said chan<- byte) {
	defer close(said)
	buf := make([]byte, 64)
	for {
		n, err := s.keeper.Read(buf)
		for _, b := range buf[:n] {
			said <- b
		}
		if err != nil {
			return
		}
	}
}

// keeperLost is what to do when the keeper has been killed.
var keeperLost = Request{Signal: unix.SIGTERM, Direct: true, Hurry: true,
	Reason: "the launcher's first process is gone"}

// requestOfSignal is what a signal asks for that came directly.
func requestOfSignal(sig syscall.Signal) Request {
	if sig == link.KeeperLost {
		return keeperLost
	}
	return Request{Signal: sig, Direct: true}
}

// requestOf reads one byte of the link. What hastens the end has no signal of its own; it
// is the one that has stopped the job before.
func (s *Supervisor) requestOf(b byte) Request {
	switch b {
	case link.Kill:
		return Request{Signal: unix.SIGTERM, Kill: true, Reason: "asked again"}
	case link.Quit:
		return Request{Signal: unix.SIGTERM, Leave: true}
	}
	r := Request{Signal: syscall.Signal(b)}
	if r.Signal == unix.SIGTSTP {
		r.Done = func() { s.send(link.Suspended, "") }
	}
	return r
}

// send tells the keeper something, in one write. Without a keeper there is nobody to tell.
func (s *Supervisor) send(word, about string) {
	if s.keeper != nil && !strings.Contains(about, "\n") {
		_, _ = s.keeper.WriteString(strings.TrimSpace(word+" "+about) + "\n")
	}
}

// CgroupMade tells the keeper of the job's control group, to be ended and removed with
// the job.
func (s *Supervisor) CgroupMade(path string) { s.send(link.Cgroup, path) }

// FolderMade tells the keeper of the job's private folder, to be removed if this process
// cannot.
func (s *Supervisor) FolderMade(path string) { s.send(link.Folder, path) }

// LeaveBehind tells the keeper that the job has ended well and that what it left behind
// may go on.
func (s *Supervisor) LeaveBehind() { s.send(link.Leave, "") }

// Exit tells the keeper that this process ends with code as it should. It is the last
// word: the keeper takes an end without it for a crash.
func (s *Supervisor) Exit(code int) { s.send(link.Exit, strconv.Itoa(code)) }
