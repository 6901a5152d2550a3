package launcher

import (
	"fmt"
	"os"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/gpulaunch/gpulaunch/launcher/internal/process"
)

// watch waits for the workers of an attempt through one epoll of its own. A pidfd
// is readable when its process has ended (pidfd_open(2)), and epoll lists what became
// readable in that order, which goroutines of the runtime's poller would lose: of two
// workers that end in one moment, the first is the cause.
type watch struct {
	epoll *os.File
	mu    sync.Mutex
	by    map[int32]*worker // pidfd
}

func newWatch() (*watch, error) {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("workers cannot be waited for: %w%s", err, process.ResourceHint(err))
	}
	_ = unix.SetNonblock(fd, true) // so that the runtime polls it; fails only on a bad descriptor
	return &watch{epoll: os.NewFile(uintptr(fd), "epoll"), by: map[int32]*worker{}}, nil
}

// add begins to wait for a worker.
func (w *watch) add(wk *worker) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	conn, err := w.epoll.SyscallConn()
	if err != nil {
		return err
	}
	fd := int32(wk.pidfd)
	var added error
	err = conn.Control(func(epoll uintptr) {
		// Edge-triggered: one that has been listed is not listed again.
		added = unix.EpollCtl(int(epoll), unix.EPOLL_CTL_ADD, wk.pidfd, &unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLET, Fd: fd})
	})
	if err == nil {
		err = added
	}
	if err == nil {
		w.by[fd] = wk
	}
	return err
}

// run reaps the workers in the order of their ends, and calls ended for each, until
// the watch is closed.
func (w *watch) run(ended func(*worker)) {
	conn, err := w.epoll.SyscallConn()
	if err != nil {
		return // closed before it began
	}
	events := make([]unix.EpollEvent, 64)
	_ = conn.Read(func(epoll uintptr) bool { // ends with the error that it is closed
		for {
			n, err := process.RetryEINTR(func() (int, error) { return unix.EpollWait(int(epoll), events, 0) })
			if n <= 0 || err != nil {
				return false
			}
			for _, e := range events[:n] {
				if wk := w.reap(e.Fd); wk != nil {
					ended(wk)
				}
			}
		}
	})
}

func (w *watch) reap(fd int32) *worker {
	w.mu.Lock()
	defer w.mu.Unlock()
	wk := w.by[fd]
	if wk == nil {
		return nil
	}
	var done bool
	if done, wk.waitErr = wk.proc.reap(); !done {
		return nil // cannot be: it is readable
	}
	delete(w.by, fd)
	unix.Close(int(fd)) // which also takes it out of the epoll
	return wk
}

// close ends the waiting, for workers that will not end, too.
func (w *watch) close() {
	w.epoll.Close()
	w.mu.Lock()
	defer w.mu.Unlock()
	for fd := range w.by {
		unix.Close(int(fd))
	}
	w.by = nil
}
