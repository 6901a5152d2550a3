package spawn

import (
	"fmt"
	"os"
	"slices"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/gpulaunch/gpulaunch/launcher/internal/process"
)

// Waiter waits for processes through one epoll instance. A pidfd is readable when its process has
// exited (pidfd_open(2)), and epoll lists descriptors in the order in which they became readable.
// That order says which of two workers that exit at almost the same time was the first to fail.
// Goroutines of the runtime's poller would lose it.
type Waiter struct {
	ended func(*Process)

	epoll   *os.File
	mu      sync.Mutex
	byPidfd map[int32]*Process
	// unsure are processes whose end epoll does not report: those without a pidfd, and those that
	// have exited but cannot be reaped before their tracer has noticed (ptrace(2)).
	unsure []*Process
}

// NewWaiter returns a Waiter. The goroutine that calls Run calls ended for each process that has
// exited, in the order in which they exited.
func NewWaiter(ended func(*Process)) (*Waiter, error) {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("cannot wait for workers: %w", err)
	}
	_ = unix.SetNonblock(fd, true) // so that the runtime polls it; fails only for a bad descriptor
	return &Waiter{ended: ended, epoll: os.NewFile(uintptr(fd), "epoll"),
			byPidfd: map[int32]*Process{}},
		nil
}

// Add adds a process to wait for.
func (w *Waiter) Add(p *Process) {
	if p.pidfd < 0 {
		w.mu.Lock()
		w.unsure = append(w.unsure, p)
		w.mu.Unlock()
		w.Retry() // it may have ended before
		return
	}
	if w.add(p) != nil {
		// The epoll instance has no room for it, so a thread waits instead.
		go func() { p.Wait(); w.ended(p) }()
	}
}

func (w *Waiter) add(p *Process) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	conn, err := w.epoll.SyscallConn()
	if err != nil {
		return err
	}
	fd := int32(p.pidfd)
	var added error
	err = conn.Control(func(epoll uintptr) {
		// Edge-triggered, so that a process that has been listed is not listed again.
		added = unix.EpollCtl(int(epoll), unix.EPOLL_CTL_ADD, p.pidfd,
			&unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLET, Fd: fd})
	})
	if err == nil {
		err = added
	}
	if err == nil {
		w.byPidfd[fd] = p
	}
	return err
}

// Run reaps the processes in the order in which they exit, until the Waiter is closed.
func (w *Waiter) Run() {
	conn, err := w.epoll.SyscallConn()
	if err != nil {
		return // it was closed before Run was called
	}
	events := make([]unix.EpollEvent, 64)
	_ = conn.Read(func(epoll uintptr) bool { // returns an error when the Waiter is closed
		for {
			n, err := process.RetryEINTR(func() (int, error) {
				return unix.EpollWait(int(epoll), events, 0)
			})
			if n <= 0 || err != nil {
				return false
			}
			for _, e := range events[:n] {
				if p := w.reap(e.Fd); p != nil {
					w.ended(p)
				}
			}
		}
	})
}

// reap reaps the process of a pidfd and returns it, or nil if the Waiter has no such process any
// more.
func (w *Waiter) reap(fd int32) *Process {
	w.mu.Lock()
	defer w.mu.Unlock()
	p := w.byPidfd[fd]
	if p == nil {
		return nil
	}
	w.unsure = slices.DeleteFunc(w.unsure, func(q *Process) bool { return q == p })
	if !p.reap() {
		w.unsure = append(w.unsure, p) // it need not be listed again
		return nil
	}
	delete(w.byPidfd, fd)
	unix.Close(int(fd)) // this also removes it from the epoll instance
	return p
}

// Retry reaps the processes whose end is not reported. It is to be called when a child has ended
// (SIGCHLD). Their order is not known.
func (w *Waiter) Retry() {
	var ended []*Process
	w.mu.Lock()
	w.unsure = slices.DeleteFunc(w.unsure, func(p *Process) bool {
		if !p.reap() {
			return false
		}
		if p.pidfd >= 0 {
			delete(w.byPidfd, int32(p.pidfd))
			unix.Close(p.pidfd)
		}
		ended = append(ended, p)
		return true
	})
	w.mu.Unlock()
	for _, p := range ended {
		w.ended(p)
	}
}

// Close stops waiting, even for processes that have not exited.
func (w *Waiter) Close() {
	w.epoll.Close()
	w.mu.Lock()
	defer w.mu.Unlock()
	for fd := range w.byPidfd {
		unix.Close(int(fd))
	}
	w.byPidfd = nil
}
