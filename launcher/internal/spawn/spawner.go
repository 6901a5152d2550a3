package spawn

import (
	"os/exec"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"
)

// Spawner starts processes from an operating system thread of its own.
//
// It needs one because of two rules of the kernel. CPU affinity and the signal mask belong to a
// thread and are inherited through fork and exec (sched_setaffinity(2), pthread_sigmask(3)). The
// thread sets them before the child exists, so the child never runs unbound. And a child's parent
// death signal is sent when the thread that forked it ends, not the process (prctl(2),
// PR_SET_PDEATHSIG; golang/go issue 27505). The thread therefore lives until Close, which must come
// after the last child is gone.
type Spawner struct {
	work chan func()
	done chan struct{}

	// released receives a value when a child has been removed from the record. ReapOrphans stops at
	// a recorded child, so there may be orphans behind it.
	released chan struct{}
}

// New starts the thread and does not wait for it.
func New() *Spawner {
	s := &Spawner{
		work: make(chan func(), 16), done: make(chan struct{}), released: make(chan struct{}, 1),
	}
	go s.run(nil)
	return s
}

// Close ends the thread. The kernel then sends the parent death signal to children that are still
// alive.
func (s *Spawner) Close() {
	close(s.work)
	<-s.done
}

// Released returns a channel that receives a value after a child of this Spawner has been waited
// for.
func (s *Spawner) Released() <-chan struct{} { return s.released }

// run is the thread. Its goroutine ends while it is locked to the thread, which makes the Go
// runtime end the thread, so that no other goroutine gets one with a changed signal mask. locked,
// if not nil, is closed when the goroutine has its thread.
func (s *Spawner) run(locked chan struct{}) {
	runtime.LockOSThread()
	if locked != nil {
		close(locked)
	}
	if unix.Gettid() == unix.Getpid() {
		// The main thread must not end, because the process would then not report its exit status.
		// While this goroutine holds it, a new goroutine gets another thread.
		moved := make(chan struct{})
		go s.run(moved)
		<-moved
		runtime.UnlockOSThread()
		return
	}
	defer close(s.done)
	// If the launcher was started with blocked signals, its children must not inherit that.
	var none unix.Sigset_t
	_ = unix.PthreadSigmask(unix.SIG_SETMASK, &none, nil) // fails only on a wrong "how"
	for f := range s.work {
		f()
	}
}

// Go runs f on the thread and does not wait for it.
func (s *Spawner) Go(f func()) { s.work <- f }

// Start starts a helper process of the launcher. The kernel kills it when the launcher ends. The
// caller waits for it with cmd.Wait and then calls Release.
func (s *Spawner) Start(cmd *exec.Cmd) (err error) {
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	// The helper gets its own process group, because only the launcher should react to Ctrl-C.
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

// Release removes a child from the record. It is called after the child has been waited for.
func (s *Spawner) Release(pid int) {
	forget(pid)
	select {
	case s.released <- struct{}{}:
	default:
	}
}
