// Package keeper is the process that a user starts with gpulaunch run. It runs the
// supervisor as its child and outlives it, to end what is left.
//
// It depends on little on purpose: whatever the program is linked with besides is
// initialised later, so the supervisor is started before that (see
// cmd/gpulaunch/startkeeper).
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
)

// leaveLimit is how long the keeper waits for a supervisor that was told to
// quit, and for what it then kills itself.
const leaveLimit = time.Second

// settling is how long the keeper listens before it stops itself.
const settling = 20 * time.Millisecond

// Keep is the keeper: it runs the supervisor as its child with args, forwards
// signals to it, and when it is gone ends every descendant that is left. It gives
// the exit code. The calling goroutine must be locked to the main thread, whose
// end is the process's end, because the supervisor's death signal is tied to it.
//
// It reads no configuration and opens no library, so that it has nothing to fail
// at.
func Keep(args []string) int {
	k := &keeper{started: time.Now(), signals: make(chan os.Signal, 256),
		stops: make(chan os.Signal, 16), childEnded: make(chan os.Signal, 1),
		messages: make(chan message, 16)}
	// At once, because Go answers it with a trace otherwise.
	signal.Notify(k.stops, unix.SIGQUIT)
	k.inherited = children()
	if err := process.BecomeSubreaper(); err != nil {
		return k.fail(err)
	}
	if err := k.start(args); err != nil {
		return k.fail(fmt.Errorf("cannot start the supervisor from /proc/self/exe: %w",
			withHint(err)))
	}
	// Only now, since the supervisor takes long to come up and this need not be
	// waited for: a signal before it ends this process, and with it the supervisor.
	link.Listen(k.signals, k.stops)
	signal.Notify(k.childEnded, unix.SIGCHLD)
	select {
	case k.childEnded <- unix.SIGCHLD: // it may have ended already
	default:
	}
	k.attend()
	return k.leave()
}

type keeper struct {
	signals    chan os.Signal // to be passed on
	stops      chan os.Signal // that ask for the end
	childEnded chan os.Signal
	messages   chan message

	// inherited are children that this process had before it was gpulaunch: a shell
	// that starts something and then execs keeps them. They are none of our business.
	inherited map[int]bool

	supervisor *os.File // our end of the link
	pid        int
	status     unix.WaitStatus
	reaped     bool // the supervisor
	killed     bool // likewise, by us

	started  time.Time
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

func (k *keeper) fail(err error) int {
	fmt.Fprintf(os.Stderr, "gpulaunch: %v\n", err)
	return 125
}

// children lists the children that this process has, nil for none.
func children() map[int]bool {
	if !process.HasChildren() {
		return nil
	}
	inherited := map[int]bool{}
	list, _ := process.Descendants(unix.Getpid()) // without /proc there is no sweep either
	for _, d := range list {
		inherited[d.PID] = true
	}
	return inherited
}

// start starts the supervisor from the very file that this process runs.
func (k *keeper) start(args []string) error {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	if err != nil {
		return err
	}
	// Their end keeps its number through exec, so that descriptors that the user
	// hands down from 3 up keep theirs.
	unix.CloseOnExec(fds[0])
	defer unix.Close(fds[1])
	argv := supervisorArgv(fds[1], k.started, args)
	k.pid, err = syscall.ForkExec("/proc/self/exe", argv, &syscall.ProcAttr{
		Env: os.Environ(), Files: []uintptr{0, 1, 2},
		Sys: &syscall.SysProcAttr{Pdeathsig: link.KeeperLost},
	})
	if err != nil {
		unix.Close(fds[0])
		return err
	}
	k.supervisor = os.NewFile(uintptr(fds[0]), "link to the supervisor")
	go k.listenToSupervisor()
	return nil
}

// withHint adds what is likely missing to an error.
func withHint(err error) error {
	if err == unix.ENOENT {
		return fmt.Errorf("%w; mount proc on /proc", err)
	}
	return process.WithResourceHint(err)
}

func (k *keeper) listenToSupervisor() {
	defer close(k.messages)
	for lines := bufio.NewScanner(k.supervisor); lines.Scan(); {
		word, about, _ := strings.Cut(lines.Text(), " ")
		k.messages <- message{word, about}
	}
}

// attend forwards signals until the supervisor has ended, or would not though
// it was told to quit and then killed.
func (k *keeper) attend() {
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
func (k *keeper) forward(sig syscall.Signal) {
	switch {
	case link.Stops(sig):
		if b, counts := k.requests.add(sig, time.Now()); counts && k.send(b) == unix.EAGAIN {
			// Of those there are three at most.
			go func() { _, _ = k.supervisor.Write([]byte{b}) }()
		}
		return
	case sig == unix.SIGTSTP && unix.Getpid() == 1:
		return // the first process of a container cannot be stopped
	case sig == unix.SIGTSTP && time.Since(k.continued) < settling:
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
func (k *keeper) send(b byte) error {
	_, err := unix.SendmsgN(int(k.supervisor.Fd()), []byte{b}, nil, nil,
		unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL)
	return err
}

// handle acts on what the supervisor tells.
func (k *keeper) handle(m message) {
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
func (k *keeper) suspend() {
	k.suspensions--
	for settled := time.After(settling); settled != nil; {
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
func (k *keeper) reap() {
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
func (k *keeper) sweep(limit time.Duration) (ended, left []process.Descendant) {
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
func (k *keeper) leave() int {
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
func (k *keeper) drain() {
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
