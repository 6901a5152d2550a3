package spawn

import (
	"os/exec"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"
)

// Spawner starts processes from one operating system thread of its own.
//
// The kernel rules behind it: affinity and signal mask belong to a thread and are
// inherited through fork and exec (sched_setaffinity(2), pthread_sigmask(3)), so they are
// set here, before the child exists, and there is no moment in which it runs unbound. A
// child's parent death signal is sent when the *thread* that forked it ends (prctl(2),
// PR_SET_PDEATHSIG; golang/go issue 27505), so this thread lives until Close, which must
// come after the last child is gone.
type Spawner struct {
	work chan func()
	done chan struct{}

	// released has a value when a child has left the record: orphans may have queued
	// behind it.
	released chan struct{}
}

// New starts the thread, and does not wait for it.
func New() *Spawner {
	s := &Spawner{
		work: make(chan func(), 16), done: make(chan struct{}), released: make(chan struct{}, 1),
	}
	go s.run(nil)
	return s
}

// Close ends the thread. Children that are still alive get their parent death signal.
func (s *Spawner) Close() {
	close(s.work)
	<-s.done
}

// Released has a value after a child that this Spawner started has been waited for.
func (s *Spawner) Released() <-chan struct{} { return s.released }

// run is the thread. Its goroutine ends locked, which makes the Go runtime end the thread
// rather than give one with a changed signal mask to other goroutines. locked, unless nil,
// is closed when the goroutine has its thread.
func (s *Spawner) run(locked chan struct{}) {
	runtime.LockOSThread()
	if locked != nil {
		close(locked)
	}
	if unix.Gettid() == unix.Getpid() {
		// The main thread cannot be ended without hanging the process's exit status.
		// While this goroutine holds it, a new one gets another thread.
		moved := make(chan struct{})
		go s.run(moved)
		<-moved
		runtime.UnlockOSThread()
		return
	}
	defer close(s.done)
	// A launcher started with blocked signals must not hand them down.
	var none unix.Sigset_t
	_ = unix.PthreadSigmask(unix.SIG_SETMASK, &none, nil) // fails only on a wrong "how"
	for f := range s.work {
		f()
	}
}

// Go has f run on the thread and does not wait for it.
func (s *Spawner) Go(f func()) { s.work <- f }

// Start starts a helper process of the launcher itself; it dies with the launcher. The
// caller waits for it with cmd.Wait and then calls Release.
func (s *Spawner) Start(cmd *exec.Cmd) (err error) {
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	// In a group of its own, because Ctrl-C is for the launcher to act on.
	cmd.SysProcAttr.Setpgid = true
	cmd.SysProcAttr.Pdeathsig = syscall.SIGKILL
	finished := make(chan struct{})
	s.Go(func() {
		defer close(finished)
		children.Lock()
		defer children.Unlock()
		if err = cmd.Start(); err == nil {
			children.job[cmd.Process.Pid] = nil
		}
	})
	<-finished
	return err
}

// Release records that a child has been waited for.
func (s *Spawner) Release(pid int) {
	forget(pid)
	select {
	case s.released <- struct{}{}:
	default:
	}
}
