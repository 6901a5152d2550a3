package spawn

import (
	"fmt"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/gpulaunch/gpulaunch/launcher/internal/process"
)

// Process is a worker's process. Until it has been waited for, the kernel keeps its pid
// and the process group of that number for it, so a signal to the group cannot reach a
// stranger; mu makes waiting and signalling exclude each other.
type Process struct {
	// PID is the process's id and that of its process group.
	PID int
	// Started is when the process had been started, by this process's clock.
	Started time.Time

	spawner *Spawner
	pidfd   int

	mu     sync.Mutex
	reaped bool
	end    End
}

// End is how a process ended.
type End struct {
	Status process.ExitStatus
	// CPU is user and system time of the process and of the children it waited for.
	CPU time.Duration
	// Time is when the process was waited for.
	Time time.Time
	// Err is why it could not be waited for, nil if it could.
	Err error
}

// newProcess takes over a child and its pidfd.
func newProcess(s *Spawner, pid, pidfd int) *Process {
	return &Process{PID: pid, Started: time.Now(), spawner: s, pidfd: pidfd}
}

// Wait blocks a thread until the process has exited, and reaps it. It is for a process that
// no Waiter waits for.
func (p *Process) Wait() {
	defer unix.Close(p.pidfd)
	for !p.reap() {
		// EINTR, or readable
		_, _ = unix.Poll([]unix.PollFd{{Fd: int32(p.pidfd), Events: unix.POLLIN}}, -1)
	}
}

// reap collects the exit status if there is one yet, and reports whether there is.
func (p *Process) reap() (done bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	var ws unix.WaitStatus
	var usage unix.Rusage
	// By pid, which is safe for a child that only this code waits for, because x/sys does
	// not decode waitid's siginfo.
	pid, err := process.RetryEINTR(func() (int, error) {
		return unix.Wait4(p.PID, &ws, unix.WNOHANG, &usage)
	})
	switch {
	case err != nil:
		// Somebody else has waited for it (ECHILD), so its number may be anybody's by now.
		p.reaped, p.end.Time = true, time.Now()
		p.end.Err = fmt.Errorf("cannot wait for worker process %d: %w", p.PID, err)
	case pid == 0:
		return false
	default:
		p.reaped = true
		p.end = End{
			Status: process.ExitStatusOf(ws), Time: time.Now(),
			CPU: time.Duration(usage.Utime.Nano() + usage.Stime.Nano()),
		}
	}
	p.spawner.Release(p.PID)
	return true
}

// End says how the process ended; the zero value before it has been waited for.
func (p *Process) End() End {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.end
}

// SignalGroup sends a signal to the process group that the process leads, and reports
// whether it could. It cannot once the process has been waited for, because the number may
// then be somebody else's.
func (p *Process) SignalGroup(sig syscall.Signal) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return !p.reaped && unix.Kill(-p.PID, sig) == nil
}

// Alive reports whether the process has not been waited for yet.
func (p *Process) Alive() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return !p.reaped
}
