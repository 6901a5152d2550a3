package launcher

import (
	"fmt"
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
	pidfd   int

	mu     sync.Mutex
	reaped bool
	exit   Exit
	cpu    time.Duration
	ended  time.Time
}

// newProc takes over a child and its pidfd.
func newProc(pid, pidfd int) *proc {
	return &proc{pid: pid, started: time.Now(), pidfd: pidfd}
}

// wait blocks a thread until the process has ended, and reaps it.
func (p *proc) wait() error {
	defer unix.Close(p.pidfd)
	for {
		if done, err := p.reap(); done {
			return err
		}
		_, _ = unix.Poll([]unix.PollFd{{Fd: int32(p.pidfd), Events: unix.POLLIN}}, -1) // EINTR, or readable
	}
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
