// Package early is what the keeper and the supervisor do first: [Begin] starts the supervisor, and
// [Subscribe] subscribes to the supervisor's signals.
//
// Of the packages that have to be initialised, it depends only on os, os/signal and syscall, so
// cmd/gpulaunch/startearly can call it before the rest of the program is initialised. The keeper is
// initialised while its supervisor starts.
//
// Only the command gpulaunch uses this package.
//
// The goroutine of Subscribe ends when all signals are subscribed to.
package early

import (
	"errors"
	"os"
	"strconv"
	"syscall"
	"time"
)

// Supervisor is a supervisor that has been started or is to be started.
type Supervisor struct {
	// Started says whether starting it has been tried. It has not if this process had children
	// before it ran gpulaunch, because they have to be listed first.
	Started bool
	// Err says why it could not be started, and Failed what could not be done. They are separate
	// because package fmt is not initialised yet.
	Err    error
	Failed string

	// PID is the process id of the supervisor.
	PID int
	// Link is the descriptor of the keeper's end of the link.
	Link int

	args  []string
	begun time.Time
}

// Begin starts a supervisor unless this process has children. args are the arguments after
// gpulaunch run. Call it on the main thread, because the supervisor's parent death signal is tied
// to the thread that starts it, and only the main thread lives as long as the process.
func Begin(args []string) *Supervisor {
	limitProcs()
	s := &Supervisor{args: args, begun: time.Now()}
	if !hasChildren() {
		s.Start()
	}
	return s
}

// Start makes this process a child subreaper and starts the supervisor from the same file that this
// process runs. It must be called on the main thread, too.
func (s *Supervisor) Start() {
	s.Started = true
	const needed = keeperThreads + supervisorThreads + 1
	if limit := threadsLimit(needed); limit != "" {
		s.Err = errors.New(limit + ": raise it")
		s.Failed = "make the " + strconv.Itoa(needed) + " threads and processes that it needs"
		return
	}
	// PR_SET_CHILD_SUBREAPER in prctl(2): what the supervisor leaves behind becomes a child of this
	// process.
	const prSetChildSubreaper = 36
	_, _, errno := syscall.RawSyscall(syscall.SYS_PRCTL, prSetChildSubreaper, 1, 0)
	if errno != 0 {
		s.Err, s.Failed = errno, "become the subreaper of the workers' descendants"
		return
	}
	if s.Err = s.fork(First, &syscall.SysProcAttr{Setpgid: true}); s.Err != nil {
		s.Failed = "start the supervisor from /proc/self/exe"
	}
}

// fork starts the supervisor with the other end of a new link.
//
// Unless it shares the terminal, it has a process group of its own, so that one signal to the
// keeper's group, as from timeout(1), does not end both processes.
func (s *Supervisor) fork(place Place, attr *syscall.SysProcAttr) error {
	fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM, 0)
	if err != nil {
		return err
	}
	// The supervisor's end keeps its number through exec, so that descriptors that the user passes
	// on, from 3 up, keep theirs.
	syscall.CloseOnExec(fds[0])
	defer syscall.Close(fds[1])
	// The closed link tells the supervisor that the keeper is gone. It must not sleep through that:
	// SIGCONT wakes it if it has been stopped (signal(7)).
	attr.Pdeathsig = syscall.SIGCONT
	command := Command{Link: strconv.Itoa(fds[1]), Started: nanoseconds(s.begun), Place: place,
		Args: s.args}
	s.PID, err = syscall.ForkExec("/proc/self/exe", command.argv(),
		&syscall.ProcAttr{Env: os.Environ(), Files: []uintptr{0, 1, 2}, Sys: attr})
	if err != nil {
		syscall.Close(fds[0])
		return err
	}
	s.Link = fds[0]
	return nil
}

// hasChildren reports whether this process has any child, ended or not. Without room for details,
// waitid(2) only reports whether there is one.
func hasChildren() bool {
	const all = 0 // P_ALL
	_, _, errno := syscall.RawSyscall6(syscall.SYS_WAITID, all, 0, 0,
		syscall.WEXITED|syscall.WNOHANG|syscall.WNOWAIT, 0, 0)
	return errno != syscall.ECHILD
}
