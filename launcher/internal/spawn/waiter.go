package spawn

import (
	"fmt"
	"os"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/gpulaunch/gpulaunch/launcher/internal/process"
)

// Waiter waits for processes through one epoll of its own. A pidfd is readable when its
// process has exited (pidfd_open(2)), and epoll lists what became readable in that order,
// which goroutines of the runtime's poller would lose: of two workers that exit in one
// moment, the first is the cause.
type Waiter struct {
	ended func(*Process)

	epoll *os.File
	mu    sync.Mutex
	by    map[int32]*Process // pidfd
}

// NewWaiter makes a Waiter that calls ended for each process that has exited, in the order
// in which the processes did, from the goroutine that calls Run.
func NewWaiter(ended func(*Process)) (*Waiter, error) {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("cannot wait for workers: %w", err)
	}
	_ = unix.SetNonblock(fd, true) // so that the runtime polls it; fails only on a bad descriptor
	return &Waiter{ended: ended, epoll: os.NewFile(uintptr(fd), "epoll"), by: map[int32]*Process{}},
		nil
}

// Add begins to wait for a process.
func (w *Waiter) Add(p *Process) {
	if w.add(p) != nil {
		// The kernel has no room to watch it, so a thread waits.
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
		// Edge-triggered, so that one that has been listed is not listed again.
		added = unix.EpollCtl(int(epoll), unix.EPOLL_CTL_ADD, p.pidfd,
			&unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLET, Fd: fd})
	})
	if err == nil {
		err = added
	}
	if err == nil {
		w.by[fd] = p
	}
	return err
}

// Run reaps the processes in the order in which they exit, until the Waiter is closed.
func (w *Waiter) Run() {
	conn, err := w.epoll.SyscallConn()
	if err != nil {
		return // closed before it began
	}
	events := make([]unix.EpollEvent, 64)
	_ = conn.Read(func(epoll uintptr) bool { // ends with the error that it is closed
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

// reap takes an exited process out, nil if it is not known any more.
func (w *Waiter) reap(fd int32) *Process {
	w.mu.Lock()
	defer w.mu.Unlock()
	p := w.by[fd]
	if p == nil || !p.reap() {
		return nil
	}
	delete(w.by, fd)
	unix.Close(int(fd)) // which also takes it out of the epoll
	return p
}

// Close ends the waiting, also for processes that have not exited.
func (w *Waiter) Close() {
	w.epoll.Close()
	w.mu.Lock()
	defer w.mu.Unlock()
	for fd := range w.by {
		unix.Close(int(fd))
	}
	w.by = nil
}
