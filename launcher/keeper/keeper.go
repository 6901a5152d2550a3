// Package keeper is the process that a user starts with gpulaunch run. It runs the
// supervisor as its child and outlives it, to end what is left.
//
// [New] and [Keeper.Keep] are the whole of it; package early starts the supervisor before
// this package has been initialised.
//
// Only the command gpulaunch uses this package. A program that uses package launcher as a
// library has no keeper.
//
// # Goroutines
//
// The one that calls Keep owns the keeper's state, until it gives the exit code. One reads
// what the supervisor writes, until the link ends. One exists for each request for the end
// that the supervisor does not read, three at most, until it does.
package keeper

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/gpulaunch/gpulaunch/launcher/internal/cgroup"
	"github.com/gpulaunch/gpulaunch/launcher/internal/link"
	"github.com/gpulaunch/gpulaunch/launcher/internal/process"
	"github.com/gpulaunch/gpulaunch/launcher/keeper/early"
)

// leaveLimit is how long the keeper waits for a supervisor that was told to
// quit, and for what it then kills itself.
const leaveLimit = time.Second

// listenTime is how long the keeper listens before it stops itself.
const listenTime = 20 * time.Millisecond

// New makes this process the keeper of a supervisor, which it starts unless it has been
// started. It is for the main thread (see [early.Begin]).
func New(s *early.Supervisor) *Keeper {
	k := &Keeper{signals: make(chan os.Signal, 256),
		stops: make(chan os.Signal, 16), childEnded: make(chan os.Signal, 1),
		messages: make(chan message, 16)}
	if !s.Started {
		k.inherited = children()
		s.Start()
	}
	k.pid = s.PID
	if s.Err != nil {
		k.startErr = fmt.Errorf("cannot %s: %w", s.Failed, withHint(s.Err))
	} else {
		k.supervisor = os.NewFile(uintptr(s.Link), "link to the supervisor")
	}
	return k
}

// Keep is all that the keeper does: it forwards signals to the supervisor, and when that is
// gone ends every descendant that is left. It gives the exit code.
//
// It reads no configuration and opens no library, so that it has nothing to fail at.
func (k *Keeper) Keep() int {
	if k.startErr != nil {
		return k.fail(k.startErr)
	}
	signal.Notify(k.stops, unix.SIGQUIT) // which Go answers with a trace otherwise
	// Only now, since the supervisor takes long to come up: a signal before it ends this
	// process, and with it the supervisor, which has started nothing yet.
	link.Listen(k.signals, k.stops)
	signal.Notify(k.childEnded, unix.SIGCHLD)
	select {
	case k.childEnded <- unix.SIGCHLD: // it may have ended already
	default:
	}
	go k.listenToSupervisor()
	k.attend()
	return k.leave()
}

// Keeper is the keeper.
type Keeper struct {
	signals    chan os.Signal // to be passed on
	stops      chan os.Signal // that ask for the end
	childEnded chan os.Signal
	messages   chan message

	// inherited are children that this process had before it was gpulaunch: a shell
	// that starts something and then execs keeps them. They are none of our business.
	inherited map[int]bool

	supervisor *os.File // our end of the link
	pid        int
	startErr   error // why there is none
	status     unix.WaitStatus
	reaped     bool // the supervisor
	killed     bool // likewise, by us

	requests stopRequests
	// The workers are being stopped, and then we stop; suspensions counts how often
	// that was asked for and has not been answered.
	suspending  bool
	suspensions int
	continued   time.Time // when SIGCONT last came

	// What the supervisor has said.
	cgroup, folder string
	leaveAlone     bool
	announcedExit  bool // its end is no crash
}

// message is a line from the supervisor.
type message struct{ word, about string }

func (k *Keeper) fail(err error) int {
	fmt.Fprintf(os.Stderr, "gpulaunch: %v\n", err)
	return 125
}

// children lists the descendants that this process has.
func children() map[int]bool {
	inherited := map[int]bool{}
	list, _ := process.Descendants(unix.Getpid()) // without /proc there is no sweep either
	for _, d := range list {
		inherited[d.PID] = true
	}
	return inherited
}

// withHint adds what is likely missing to an error.
func withHint(err error) error {
	if errors.Is(err, unix.ENOENT) {
		return fmt.Errorf("%w; mount proc on /proc", err)
	}
	return process.WithResourceHint(err)
}

func (k *Keeper) listenToSupervisor() {
	defer close(k.messages)
	for lines := bufio.NewScanner(k.supervisor); lines.Scan(); {
		word, about, _ := strings.Cut(lines.Text(), " ")
		k.messages <- message{word, about}
	}
}

// attend forwards signals until the supervisor has ended, or would not though
// it was told to quit and then killed.
func (k *Keeper) attend() {
	var late <-chan time.Time
	messages := k.messages
	for {
		select {
		case <-k.childEnded:
			if k.reap(); k.reaped {
				return
			}
		case sig := <-k.signals:
			k.forward(sig.(syscall.Signal))
		case sig := <-k.stops:
			if k.forward(sig.(syscall.Signal)); k.requests.quit() && late == nil {
				late = time.After(leaveLimit)
			}
		case m, ok := <-messages:
			if !ok {
				messages = nil // its end of the link is closed; it is about to end
			}
			k.handle(m)
		case <-late:
			if k.killed {
				return
			}
			k.killed = true
			_ = unix.Kill(k.pid, unix.SIGKILL) // not reaped yet, so still its pid
			late = time.After(leaveLimit)
		}
	}
}

// forward passes a signal on, or what it amounts to.
func (k *Keeper) forward(sig syscall.Signal) {
	switch {
	case link.Stops(sig):
		if b, counts := k.requests.add(sig, time.Now()); counts && k.send(b) == unix.EAGAIN {
			// Of those there are three at most.
			go func() { _, _ = k.supervisor.Write([]byte{b}) }()
		}
		return
	case sig == unix.SIGTSTP && unix.Getpid() == 1:
		return // the first process of a container cannot be stopped
	case sig == unix.SIGTSTP && time.Since(k.continued) < listenTime:
		// Go hands out signals that wait together in the order of their numbers, so
		// the two may have come the other way round. Better not to stop than to stop
		// what has been continued.
		return
	case sig == unix.SIGTSTP:
		k.suspending = true
		k.suspensions++
	case sig == unix.SIGCONT:
		k.suspending, k.continued = false, time.Now()
		_ = unix.Kill(k.pid, unix.SIGCONT)
	}
	_ = k.send(byte(sig)) // many of one kind are as good as one, as with the kernel
}

// send writes to the supervisor. One that does not read is not waited for.
func (k *Keeper) send(b byte) error {
	_, err := unix.SendmsgN(int(k.supervisor.Fd()), []byte{b}, nil, nil,
		unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL)
	return err
}

// handle acts on what the supervisor tells.
func (k *Keeper) handle(m message) {
	switch m.word {
	case link.Suspended:
		k.suspend()
	case link.Cgroup:
		k.cgroup = m.about
	case link.Folder:
		k.folder = m.about
	case link.Leave:
		k.leaveAlone = true
	case link.Exit:
		k.announcedExit = true
	}
}

// suspend stops this process, unless it has been continued in the meantime.
// SIGSTOP, since SIGTSTP would only come back to us. Whoever continues us sends
// SIGCONT, which is then forwarded. One that came before the SIGSTOP would be lost,
// hence the moment of listening.
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
	// At a terminal the supervisor is stopped, too, or it would read what is typed to
	// the shell. If we are killed meanwhile, the kernel continues it (POSIX: a stopped
	// process group that becomes orphaned gets SIGHUP and SIGCONT); without a terminal
	// nobody would.
	if tty, err := os.Open("/dev/tty"); err == nil {
		tty.Close()
		_ = unix.Kill(k.pid, unix.SIGSTOP)
	}
	_ = unix.Kill(unix.Getpid(), unix.SIGSTOP)
}

// reap collects what has ended.
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
		}
	}
}

// sweep ends every descendant and every member of the job's control group, and
// removes what belonged to the job.
func (k *Keeper) sweep(limit time.Duration) (ended, left []process.Descendant) {
	ended, left = process.Sweep{
		Spare: func(pid int) bool { return k.inherited[pid] },
		Reap:  k.reap, AtOnce: func() { cgroup.Kill(k.cgroup) }, Wake: k.childEnded, Limit: limit,
	}.Run()
	cgroup.Kill(k.cgroup)              // a member need not be a descendant, see nsenter(1)
	_ = cgroup.Remove(k.cgroup, limit) // members that cannot be killed keep it
	if k.folder != "" {
		_ = os.RemoveAll(k.folder)
	}
	return ended, left
}

// leave ends what is left and gives the exit code.
func (k *Keeper) leave() int {
	k.drain()
	exit := process.ExitStatusOf(k.status)
	well := k.reaped && k.announcedExit && exit.Signal == ""
	if well && k.leaveAlone {
		return exit.Code
	}
	limit := process.SweepLimit
	if well || k.requests.quit() {
		limit = leaveLimit // the supervisor has done its own waiting, or nobody wants to
	}
	ended, left := k.sweep(limit)
	if well {
		return exit.Code
	}
	if k.requests.first != 0 {
		return 128 + int(k.requests.first)
	}
	how := exit.String()
	if k.status.Signaled() && link.Stops(k.status.Signal()) {
		// It was sent to the process group before the supervisor could listen.
		return exit.Code
	}
	if exit.Signal == "" {
		how = "crashed: it " + how
	}
	text := "the supervisor " + how
	if len(ended) > 0 {
		text += "; killed " + process.Listed(ended, "of the job")
	}
	if len(left) > 0 {
		text += "; " + process.Stuck(left)
	}
	return k.fail(errors.New(text))
}

// drain acts on what has come and has not been acted on: signals that arrived with the
// supervisor's end, and what that one said before it.
func (k *Keeper) drain() {
	limit := time.After(leaveLimit)
	for {
		select {
		case sig := <-k.stops:
			k.requests.add(sig.(syscall.Signal), time.Now())
		case m, ok := <-k.messages:
			if !ok {
				return
			}
			if m.word != link.Suspended {
				k.handle(m)
			}
		case <-limit: // a child on its way to exec may still hold the link
			return
		}
	}
}
