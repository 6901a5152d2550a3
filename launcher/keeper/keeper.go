// Package keeper is the process that a user starts with gpulaunch run. It runs the
// supervisor as its child and outlives it, to end what is left.
//
// It depends on little on purpose: whatever the program is linked with besides is
// initialised later, so the supervisor is started before that (see
// cmd/gpulaunch/first).
package keeper

import (
	"bufio"
	"fmt"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/gpulaunch/gpulaunch/launcher/internal/cgroup"
	"github.com/gpulaunch/gpulaunch/launcher/internal/link"
	"github.com/gpulaunch/gpulaunch/launcher/internal/process"
)

// leaveLimit is how long the keeper waits for a supervisor that was told to
// leave at once, and for what it then kills itself.
const leaveLimit = time.Second

// Keep is the keeper: it runs the supervisor as its child with args, forwards
// signals to it, and when it is gone ends every descendant that is left. It gives
// the exit code. The calling goroutine must be locked to the main thread, whose
// end is the process's end, because the supervisor's death signal is tied to it.
//
// It reads no configuration and opens no library, so that it has nothing to fail
// at. As it only ever has the one child, it may reap whatever comes.
func Keep(args []string) int {
	k := &keeper{signals: make(chan os.Signal, 256), childEnded: make(chan os.Signal, 1), told: make(chan message, 16)}
	if err := process.BecomeSubreaper(); err != nil {
		return k.fail(err)
	}
	if err := k.start(args); err != nil {
		return k.fail(fmt.Errorf("cannot start the supervisor from /proc/self/exe: %w%s", err, startHint(err)))
	}
	// Only now, since the supervisor takes long to come up and this need not be
	// waited for: a signal before it ends this process, and with it the supervisor.
	link.Listen(k.signals)
	signal.Notify(k.childEnded, unix.SIGCHLD)
	select {
	case k.childEnded <- unix.SIGCHLD: // it may have ended already
	default:
	}
	k.attend()
	return k.leave()
}

type keeper struct {
	signals    chan os.Signal
	childEnded chan os.Signal
	told       chan message

	supervisor *os.File // our end of the link
	pid        int
	status     unix.WaitStatus

	stopped syscall.Signal // the first signal that asked for the end
	asks    int

	// What the supervisor has told.
	cgroup, folder string
	leaveAlone     bool
}

// message is a line from the supervisor.
type message struct{ word, about string }

func (k *keeper) fail(err error) int {
	fmt.Fprintf(os.Stderr, "gpulaunch: %v\n", err)
	return 125
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
	argv := append([]string{os.Args[0], "supervise", strconv.Itoa(fds[1])}, args...)
	k.pid, err = syscall.ForkExec("/proc/self/exe", argv, &syscall.ProcAttr{
		Env: os.Environ(), Files: []uintptr{0, 1, 2},
		Sys: &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM},
	})
	if err != nil {
		unix.Close(fds[0])
		return err
	}
	k.supervisor = os.NewFile(uintptr(fds[0]), "link to the supervisor")
	go k.listenToSupervisor()
	return nil
}

// startHint says what is likely missing.
func startHint(err error) string {
	if err == unix.ENOENT {
		return "; mount proc on /proc"
	}
	return process.ResourceHint(err)
}

func (k *keeper) listenToSupervisor() {
	defer close(k.told)
	for lines := bufio.NewScanner(k.supervisor); lines.Scan(); {
		word, about, _ := strings.Cut(lines.Text(), " ")
		k.told <- message{word, about}
	}
}

// hear acts on what the supervisor tells.
func (k *keeper) hear(m message) {
	switch m.word {
	case link.Suspended:
		// SIGSTOP, since SIGTSTP would only come back to us. Whoever continues us
		// sends SIGCONT, which is then forwarded.
		_ = unix.Kill(unix.Getpid(), unix.SIGSTOP)
	case link.Cgroup:
		k.cgroup = m.about
	case link.Folder:
		k.folder = m.about
	case link.Leave:
		k.leaveAlone = true
	}
}

// attend forwards signals until the supervisor has ended.
func (k *keeper) attend() {
	var late <-chan time.Time
	told := k.told
	for {
		select {
		case <-k.childEnded:
			if k.reap() {
				return
			}
		case sig := <-k.signals:
			if k.forward(sig.(syscall.Signal)); k.asks >= 3 && late == nil {
				late = time.After(leaveLimit)
			}
		case m, ok := <-told:
			if !ok {
				told = nil // its end of the link is closed; it is about to end
			}
			k.hear(m)
		case <-late:
			_ = unix.Kill(k.pid, unix.SIGKILL) // not reaped yet, so still its pid
		}
	}
}

func (k *keeper) forward(sig syscall.Signal) {
	if link.Stops(sig) {
		k.asks++
		if k.stopped == 0 {
			k.stopped = sig
		}
	}
	_, _ = k.supervisor.Write([]byte{byte(sig)}) // a supervisor that is gone needs no signal
}

// reap collects what has ended and reports whether the supervisor was among it.
func (k *keeper) reap() (ended bool) {
	for {
		var ws unix.WaitStatus
		pid, err := process.RetryEINTR(func() (int, error) { return unix.Wait4(-1, &ws, unix.WNOHANG, nil) })
		if err != nil || pid <= 0 {
			return ended
		}
		if pid == k.pid {
			k.status, ended = ws, true
		}
	}
}

// sweep ends every descendant and every member of the job's control group, and
// removes what belonged to the job.
func (k *keeper) sweep(limit time.Duration) (ended, left []process.Descendant) {
	ended, left = process.Sweep{
		Reap: func() { k.reap() }, AtOnce: func() { cgroup.Kill(k.cgroup) }, Wake: k.childEnded, Limit: limit,
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
	for m := range k.told { // what it said last; its end of the link is closed
		if m.word != link.Suspended {
			k.hear(m)
		}
	}
	exit := process.ExitOf(k.status)
	if exit.Signal == 0 && k.leaveAlone {
		return exit.Code
	}
	limit := process.SweepLimit
	if exit.Signal == 0 || k.asks >= 3 {
		limit = leaveLimit // the supervisor has done its own waiting, or nobody wants to
	}
	ended, left := k.sweep(limit)
	if exit.Signal == 0 {
		return exit.Code
	}
	if k.stopped != 0 {
		return 128 + int(k.stopped)
	}
	text := fmt.Sprintf("the supervisor %s", exit)
	if len(ended) > 0 {
		text += "; killed " + process.Listed(ended, "of the job")
	}
	if len(left) > 0 {
		text += "; " + process.Stuck(left)
	}
	return k.fail(fmt.Errorf("%s", text))
}
