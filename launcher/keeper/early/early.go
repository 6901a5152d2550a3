// Package early is what keeper and supervisor do first: [Begin] starts the supervisor, and
// [Subscribe] subscribes to the supervisor's signals.
//
// It depends on packages os, os/signal and syscall and on nothing else that has to be
// initialised, so that cmd/gpulaunch/startearly can call it before the rest of the program
// is. The keeper is initialised while its supervisor already starts.
//
// Only the command gpulaunch uses this package.
//
// The goroutine of Subscribe ends when all signals are subscribed to.
package early

import (
	"os"
	"syscall"
	"time"

	"github.com/gpulaunch/gpulaunch/launcher/internal/link"
)

// Supervisor is a supervisor that has been started, or is to be.
type Supervisor struct {
	// Started says whether that has been tried. It has not if this process had children
	// before it was gpulaunch, which have to be listed first.
	Started bool
	// Err says why it failed, and Failed at what. Package fmt is not initialised yet.
	Err    error
	Failed string

	// PID is the supervisor's process.
	PID int
	// Link is the descriptor of the keeper's end of the link.
	Link int

	args  []string
	begun time.Time
}

// Begin starts a supervisor with args, which are those behind gpulaunch run, unless this
// process has children. Call it on the main thread, whose end is the process's end, because
// the supervisor's death signal is tied to the thread that starts it.
func Begin(args []string) *Supervisor {
	s := &Supervisor{args: args, begun: time.Now()}
	if !hasChildren() {
		s.Start()
	}
	return s
}

// Start starts the supervisor from the very file that this process runs, and makes this
// process the one that its descendants come to. It is for the main thread, too.
func (s *Supervisor) Start() {
	s.Started = true
	// prctl(2); what the supervisor leaves behind comes to this process
	const prSetChildSubreaper = 36
	_, _, errno := syscall.RawSyscall(syscall.SYS_PRCTL, prSetChildSubreaper, 1, 0)
	if errno != 0 {
		s.Err, s.Failed = errno, "become the subreaper of the workers' descendants"
		return
	}
	if s.Err = s.fork(); s.Err != nil {
		s.Failed = "start the supervisor from /proc/self/exe"
	}
}

// fork starts the process at the other end of a link.
func (s *Supervisor) fork() error {
	fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM, 0)
	if err != nil {
		return err
	}
	// Their end keeps its number through exec, so that descriptors that the user
	// hands down from 3 up keep theirs.
	syscall.CloseOnExec(fds[0])
	defer syscall.Close(fds[1])
	s.PID, err = syscall.ForkExec("/proc/self/exe", supervisorArgv(fds[1], s.begun, s.args),
		&syscall.ProcAttr{
			Env: os.Environ(), Files: []uintptr{0, 1, 2},
			Sys: &syscall.SysProcAttr{Pdeathsig: link.KeeperLost},
		})
	if err != nil {
		syscall.Close(fds[0])
		return err
	}
	s.Link = fds[0]
	return nil
}

// hasChildren reports whether this process has any child, ended or not. Without room for
// details, waitid(2) only reports whether there is one.
func hasChildren() bool {
	const all = 0 // P_ALL
	_, _, errno := syscall.RawSyscall6(syscall.SYS_WAITID, all, 0, 0,
		syscall.WEXITED|syscall.WNOHANG|syscall.WNOWAIT, 0, 0)
	return errno != syscall.ECHILD
}
