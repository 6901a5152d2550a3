package launcher

import (
	"fmt"
	"os"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/gpulaunch/gpulaunch/launcher/internal/process"
)

// proc is the process of a started worker. Until it has been waited for, the kernel keeps
// its pid and the group of that number for it, so a signal to the group cannot
// reach a stranger; mu makes the waiting and the signalling exclude each other.
type proc struct {
	pid     int
	started time.Time
	pidfd   *os.File

	mu     sync.Mutex
	reaped bool
	exit   Exit
	cpu    time.Duration
	ended  time.Time
}

// newProc takes over a child and its pidfd.
func newProc(pid, pidfd int) *proc {
	// Non-blocking, so that the runtime's poller waits for all workers with one
	// epoll instead of one thread for each: a pidfd is readable when its process
	// has ended (pidfd_open(2)).
	_ = unix.SetNonblock(pidfd, true) // fails only on a bad descriptor
	return &proc{pid: pid, started: time.Now(), pidfd: os.NewFile(uintptr(pidfd), "pidfd")}
}

// wait blocks until the process has ended and reaps it.
func (p *proc) wait() error {
	defer p.pidfd.Close()
	conn, err := p.pidfd.SyscallConn()
	if err != nil {
		return err
	}
	var waitErr error
	err = conn.Read(func(uintptr) (done bool) {
		done, waitErr = p.reap()
		return done
	})
	if err != nil {
		return err
	}
	return waitErr
}

// reap collects the exit status if there is one yet.
func (p *proc) reap() (done bool, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	var ws unix.WaitStatus
	var usage unix.Rusage
	// By pid, which is safe for a child that only this code waits for, because
	// x/sys does not decode waitid's siginfo.
	pid, err := process.RetryEINTR(func() (int, error) { return unix.Wait4(p.pid, &ws, unix.WNOHANG, &usage) })
	if err != nil {
		return true, fmt.Errorf("cannot wait for worker process %d: %w", p.pid, err)
	}
	if pid == 0 {
		return false, nil
	}
	p.reaped, p.ended, p.exit = true, time.Now(), process.ExitOf(ws)
	p.cpu = time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
	return true, nil
}

// signalGroup sends a signal to the worker's process group and reports whether
// it could: not when the leader has been waited for, since its number may then
// be somebody else's.
func (p *proc) signalGroup(sig syscall.Signal) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return !p.reaped && unix.Kill(-p.pid, sig) == nil
}

// alive reports whether the process has not been waited for yet.
func (p *proc) alive() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return !p.reaped
}
