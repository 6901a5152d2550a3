package spawn

import (
	"fmt"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/gpulaunch/gpulaunch/launcher/internal/process"
)

// Process is a worker's process. Until it has been waited for, the kernel does not reuse its pid or
// the number of its process group, so a signal to the group cannot reach another process. mu
// ensures that no signal is sent while the process is being waited for.
type Process struct {
	// PID is the id of the process and of its process group.
	PID int
	// Started is when the process had just been started, by this process's clock.
	Started time.Time

	spawner *Spawner
	pidfd   int // -1 if a filter denies pidfds

	mu     sync.Mutex
	reaped bool
	end    End
}

// End says how a process ended.
type End struct {
	Status process.ExitStatus
	// CPU is the user and system time of the process and of those of its children that it has
	// waited for.
	CPU time.Duration
	// Time is when the process was waited for.
	Time time.Time
	// Err is why the process could not be waited for, or nil.
	Err error
}

// newProcess returns a Process that owns a child and its pidfd.
func newProcess(s *Spawner, pid, pidfd int) *Process {
	return &Process{PID: pid, Started: time.Now(), spawner: s, pidfd: pidfd}
}

// Ordered reports whether the time at which the process ends will be compared exactly with others'.
func (p *Process) Ordered() bool { return p.pidfd >= 0 }

// Wait blocks a thread until the process has exited, and reaps it. It is for a process that no
// Waiter waits for.
func (p *Process) Wait() {
	if p.pidfd < 0 {
		for !p.reap() {
			_ = unix.Waitid(unix.P_PID, p.PID, nil, unix.WEXITED|unix.WNOWAIT, nil)
		}
		return
	}
	defer unix.Close(p.pidfd)
	for !p.reap() {
		// Poll returns with EINTR or when the pidfd is readable. Either way, reap is tried again.
		_, _ = unix.Poll([]unix.PollFd{{Fd: int32(p.pidfd), Events: unix.POLLIN}}, -1)
	}
}

// reap waits for the process if it has exited, and reports whether it has.
func (p *Process) reap() (done bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	var ws unix.WaitStatus
	var usage unix.Rusage
	// The pid is used and not the pidfd, because x/sys does not decode the siginfo of waitid. This
	// is safe for a child that only this code waits for.
	pid, err := process.RetryEINTR(func() (int, error) {
		return unix.Wait4(p.PID, &ws, unix.WNOHANG, &usage)
	})
	switch {
	case err != nil:
		// Other code has waited for it (ECHILD), so its pid may belong to another process by now.
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

// End returns how the process ended, or the zero value if it has not been waited for.
func (p *Process) End() End {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.end
}

// SignalGroup sends a signal to the process group that the process leads, and reports whether it
// did. It does not once the process has been waited for, because the number may then be another
// group's.
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
