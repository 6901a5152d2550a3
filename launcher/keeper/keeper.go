// Package keeper is the process that the user starts with gpulaunch run. It runs the supervisor as
// its child and outlives it, to end what is left.
//
// Call [New], then [Keeper.Run] in a goroutine, and [Keeper.ServeMain] on the main thread. Package
// early starts the supervisor before this package has been initialised.
//
// Only the command gpulaunch uses this package. A program that uses package launcher as a
// library has no keeper.
//
// # Goroutines
//
// The goroutine that calls Run owns the keeper's state until Run returns the exit code. The main
// goroutine starts another supervisor if it is asked to. Another goroutine reads what the supervisor
// writes, until the link is closed. There is one more for each request for the end that the
// supervisor has not read yet, three at most.
package keeper

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/gpulaunch/gpulaunch/launcher/internal/link"
	"github.com/gpulaunch/gpulaunch/launcher/internal/process"
	"github.com/gpulaunch/gpulaunch/launcher/keeper/early"
	"github.com/gpulaunch/gpulaunch/launcher/terminal"
)

// quitLimit is how long the keeper waits for a supervisor that was asked to quit, and then for the
// one that it has killed.
const quitLimit = time.Second

// listenTime is how long the keeper still handles signals before it stops itself.
const listenTime = 20 * time.Millisecond

// New makes this process the keeper of supervisor s, and starts s unless it has been started. It
// must be called on the main thread, see [early.Begin].
func New(s *early.Supervisor) *Keeper {
	k := &Keeper{early: s, onMain: make(chan func()), signals: make(chan os.Signal, 256),
		stops: make(chan os.Signal, 16), childEnded: make(chan os.Signal, 1)}
	k.inherited.begin(!s.Started)
	if !s.Started {
		s.Start()
	}
	if s.Err != nil {
		k.startErr = fmt.Errorf("cannot %s: %w", s.Failed, withHint(s.Err))
	} else {
		k.begin()
	}
	return k
}

// begin takes over a supervisor that has been started.
func (k *Keeper) begin() {
	k.pid, k.reaped, k.announcedExit = k.early.PID, false, false
	k.supervisor = os.NewFile(uintptr(k.early.Link), "link to the supervisor")
	k.messages = make(chan message, 16)
}

// ServeMain runs on the main thread what the keeper needs it for. It does not return, and must be
// called on the main thread.
func (k *Keeper) ServeMain() {
	for f := range k.onMain {
		f()
	}
}

// Run forwards signals to the supervisor until that has ended, kills every descendant that is left,
// and returns the exit code.
//
// It reads no configuration and opens no library, so that there is little that can fail.
func (k *Keeper) Run() int {
	if k.startErr != nil {
		return k.fail(k.startErr)
	}
	signal.Notify(k.stops, unix.SIGQUIT) // without this, Go prints a stack trace
	// A signal before this point ends this process. The supervisor then ends when it finds the link
	// closed, and has started nothing yet.
	link.Listen(k.signals, k.stops)
	_ = k.send(link.Listening)
	early.PrepareThreads()
	signal.Notify(k.childEnded, unix.SIGCHLD)
	select {
	case k.childEnded <- unix.SIGCHLD: // it may have ended before SIGCHLD was subscribed to
	default:
	}
	go k.readMessages(k.supervisor, k.messages)
	k.serve()
	for k.namespaceWanted() {
		if err := k.startInNamespace(); err != nil {
			return k.fail(err)
		}
		k.serve()
	}
	return k.finish()
}

// Keeper is the state of the keeper. One goroutine owns it, see the package comment.
type Keeper struct {
	early  *early.Supervisor
	onMain chan func() // what is to be run on the main thread

	signals    chan os.Signal // to be forwarded
	stops      chan os.Signal // requests for the end
	childEnded chan os.Signal
	messages   chan message

	inherited inherited // what must not be killed

	supervisor *os.File // the keeper's end of the link
	pid        int      // of the supervisor
	startErr   error    // why there is no supervisor
	status     unix.WaitStatus
	reaped     bool // the supervisor has been reaped
	killed     bool // the keeper has killed the supervisor

	requests stopRequests
	// suspending is true while the workers are being stopped, after which the keeper stops itself.
	// suspensions counts the requests to suspend that the supervisor has not answered.
	suspending  bool
	suspensions int
	continued   time.Time // when SIGCONT last came

	// What the supervisor has sent.
	cgroup, folder string
	leaveBehind    bool
	announcedExit  bool // the supervisor's end is not a crash
	namespace      namespaceRequest
}

// message is a line from the supervisor: a word of package link and what it is about.
type message struct{ word, about string }

// fail prints an error and returns the exit code for it.
func (k *Keeper) fail(err error) int {
	// Names of processes are not the launcher's own text.
	fmt.Fprintf(os.Stderr, "gpulaunch: %s\n", terminal.OneLine(err.Error()))
	return 125
}

// withHint adds to an error what is probably missing.
func withHint(err error) error {
	if errors.Is(err, unix.ENOENT) {
		return fmt.Errorf("%w; mount proc on /proc", err)
	}
	return process.WithResourceHint(err)
}

// readMessages passes on what the supervisor writes, line by line.
func (k *Keeper) readMessages(from io.Reader, to chan<- message) {
	defer close(to)
	for lines := bufio.NewScanner(from); lines.Scan(); {
		word, about, _ := strings.Cut(lines.Text(), " ")
		to <- message{word, about}
	}
}

// serve forwards signals and handles messages until the supervisor has ended. It also returns if
// the supervisor does not end although it was asked to quit and then killed.
func (k *Keeper) serve() {
	var deadline <-chan time.Time
	messages := k.messages
	for {
		select {
		case <-k.childEnded:
			if k.reap(); k.reaped {
				return
			}
			k.inherited.update(k.pid)
		case <-k.inherited.due():
			k.inherited.update(k.pid)
		case sig := <-k.signals:
			k.forward(sig.(syscall.Signal))
		case sig := <-k.stops:
			if k.forward(sig.(syscall.Signal)); k.requests.quit() && deadline == nil {
				deadline = time.After(quitLimit)
			}
		case m, ok := <-messages:
			if !ok {
				messages = nil // the supervisor has closed its end, so it is about to end
			}
			k.handle(m)
		case <-deadline:
			if k.killed {
				k.endLink()
				return
			}
			k.killed = true
			// it has not been reaped, so the pid is still its own
			_ = unix.Kill(k.pid, unix.SIGKILL)
			deadline = time.After(quitLimit)
		}
	}
}

// forward passes a signal on, or sends what it means for the job.
func (k *Keeper) forward(sig syscall.Signal) {
	switch {
	case link.Stops(sig):
		k.wake()
		if b, counts := k.requests.add(sig, time.Now()); counts && k.send(b) == unix.EAGAIN {
			// There are at most three of these goroutines.
			go func() { _, _ = k.supervisor.Write([]byte{b}) }()
		}
		return
	case sig == unix.SIGTSTP && unix.Getpid() == 1:
		return // the first process of a container cannot be stopped
	case sig == unix.SIGTSTP && k.requests.count > 0:
		// Workers that have been asked to end would lose their grace period while they are stopped.
		return
	case sig == unix.SIGTSTP && time.Since(k.continued) < listenTime:
		// If several signals are pending, Go delivers them in the order of their numbers, so
		// SIGTSTP may have been sent before the SIGCONT. It is better not to stop at all than to
		// stop what has just been continued.
		return
	case sig == unix.SIGTSTP:
		k.suspending = true
		k.suspensions++
	case sig == unix.SIGCONT:
		k.suspending, k.continued = false, time.Now()
		k.wake()
	}
	_ = k.send(byte(sig)) // several of one kind may become one, as in the kernel (signal(7))
}

// wake continues the supervisor if it has been stopped, because a stopped process reads no request.
// It has not been reaped, so the pid is still its own.
func (k *Keeper) wake() { _ = unix.Kill(k.pid, unix.SIGCONT) }

// send sends a byte to the supervisor. It does not wait for a supervisor that does not read.
func (k *Keeper) send(b byte) error {
	_, err := unix.SendmsgN(int(k.supervisor.Fd()), []byte{b}, nil, nil,
		unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL)
	return err
}

// handle handles a message from the supervisor.
func (k *Keeper) handle(m message) {
	switch m.word {
	case link.Suspended:
		k.suspend()
	case link.Cgroup:
		k.cgroup = m.about
	case link.Folder:
		k.folder = m.about
	case link.LeaveBehind:
		k.leaveBehind = true
	case link.Namespace:
		k.namespace = namespaceRequest{mode: m.about}
	case link.SharedNamespace:
		k.namespace = namespaceRequest{mode: m.about, Namespace: early.Namespace{Shared: true}}
	case link.NoNamespace:
		k.namespace.refused = m.about
	case link.Exit:
		k.announcedExit = true
	}
}

// suspend stops this process unless it has been continued in the meantime. It uses SIGSTOP, because
// SIGTSTP would only be delivered to this process's own handler. Whoever continues this process
// sends SIGCONT, which is then forwarded. A SIGCONT that comes just before the SIGSTOP would be
// lost, so suspend first handles signals for listenTime.
func (k *Keeper) suspend() {
	k.suspensions--
	for settled := time.After(listenTime); settled != nil; {
		select {
		case sig := <-k.signals:
			k.forward(sig.(syscall.Signal))
		case sig := <-k.stops:
			k.forward(sig.(syscall.Signal))
		case <-settled:
			settled = nil
		}
	}
	if !k.suspending || k.suspensions > 0 || k.requests.count > 0 {
		return
	}
	k.suspending = false
	// At a terminal, the supervisor must be stopped, too, because it would read what the user types
	// for the shell. If this process is killed meanwhile, the kernel continues the supervisor
	// (POSIX: when a process group becomes orphaned and has a stopped member, it gets SIGHUP and
	// SIGCONT). Without a terminal, nothing would continue it.
	if tty, err := os.Open("/dev/tty"); err == nil {
		tty.Close()
		_ = unix.Kill(k.pid, unix.SIGSTOP)
	}
	_ = unix.Kill(unix.Getpid(), unix.SIGSTOP)
}

// reap waits for all children that have ended, and records the supervisor's end.
func (k *Keeper) reap() {
	for {
		var ws unix.WaitStatus
		pid, err := process.RetryEINTR(func() (int, error) {
			return unix.Wait4(-1, &ws, unix.WNOHANG, nil)
		})
		if err != nil || pid <= 0 {
			return
		}
		if pid == k.pid {
			k.status, k.reaped = ws, true
			k.endLink()
		}
	}
}
