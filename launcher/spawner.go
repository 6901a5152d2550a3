package launcher

import (
	"errors"
	"os"
	"os/exec"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/gpulaunch/gpulaunch/affinity"
	"github.com/gpulaunch/gpulaunch/launcher/internal/cgroup"
	"github.com/gpulaunch/gpulaunch/launcher/internal/process"
)

// Spawner starts processes from one operating system thread of its own.
//
// The kernel rules behind it: affinity and signal mask belong to a thread and
// are inherited through fork and exec (sched_setaffinity(2), pthread_sigmask(3)),
// so they are set here, before the child exists, and there is no moment in
// which it runs unbound. A child's parent death signal is sent when the *thread*
// that forked it ends (prctl(2), PR_SET_PDEATHSIG; golang/go issue 27505), so
// this thread lives until Close, which must come after the last child is gone.
type Spawner struct {
	work chan func()
	done chan struct{}

	// released has a value when a child left owned: orphans may have queued
	// behind it.
	released chan struct{}
}

// NewSpawner starts the thread.
func NewSpawner() *Spawner {
	s := &Spawner{
		work: make(chan func()), done: make(chan struct{}), released: make(chan struct{}, 1),
	}
	ready := make(chan struct{})
	go s.run(ready)
	<-ready
	return s
}

// Close ends the thread. Children that are still alive get their parent death
// signal.
func (s *Spawner) Close() {
	close(s.work)
	<-s.done
}

// run is the thread. It ends locked, which makes the Go runtime end the thread
// rather than give one with a changed signal mask to other goroutines.
func (s *Spawner) run(ready chan struct{}) {
	runtime.LockOSThread()
	if unix.Gettid() == unix.Getpid() {
		// The main thread cannot be ended without hanging the process's exit
		// status. While this goroutine holds it, a new one gets another thread.
		held := make(chan struct{})
		go s.run(held)
		<-held
		runtime.UnlockOSThread()
		close(ready)
		return
	}
	defer close(s.done)
	// A launcher started with blocked signals must not hand them down.
	var none unix.Sigset_t
	_ = unix.PthreadSigmask(unix.SIG_SETMASK, &none, nil) // fails only on a wrong "how"
	close(ready)
	for f := range s.work {
		f()
	}
}

// do runs f on the thread and waits for it.
func (s *Spawner) do(f func()) {
	finished := make(chan struct{})
	s.work <- func() { defer close(finished); f() }
	<-finished
}

// Start starts a helper process of the launcher itself; it dies with the
// launcher. The caller waits for it with cmd.Wait and then calls Release.
func (s *Spawner) Start(cmd *exec.Cmd) (err error) {
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	// A group of its own: Ctrl-C is for the launcher to act on.
	cmd.SysProcAttr.Setpgid = true
	cmd.SysProcAttr.Pdeathsig = syscall.SIGKILL
	s.do(func() {
		books.Lock()
		defer books.Unlock()
		if err = cmd.Start(); err == nil {
			books.owned[cmd.Process.Pid] = nil
		}
	})
	return err
}

// spec is a worker process to start.
type spec struct {
	job  *stage
	argv []string // argv[0] is a path
	env  []string
	// files are the child's descriptors 0, 1 and 2.
	files [3]*os.File
	cpus  affinity.CPUSet
	// memory is the policy for the nodes that the child's memory comes from.
	memory      affinity.MemoryPolicy
	memoryNodes []int
	// cgroup is where the child begins its life; nil for this process's own.
	cgroup *cgroup.Group
}

// forkExec starts a worker as the leader of its own process group, bound to its
// CPUs. Call it on the spawner's thread only. The pidfd is close-on-exec.
func (s *Spawner) forkExec(sp spec) (pid, pidfd int, err error) {
	restore, err := affinity.Apply(sp.cpus)
	if err != nil {
		return 0, -1, err
	}
	// What fails to be undone here, the next worker's own binding overrides.
	defer func() { _ = restore() }()
	undo, err := sp.applyMemory()
	if err != nil {
		return 0, -1, err
	}
	defer undo()
	pidfd = -1
	attr := &syscall.ProcAttr{
		Env: sp.env, Files: []uintptr{sp.files[0].Fd(), sp.files[1].Fd(), sp.files[2].Fd()},
		Sys: &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL, PidFD: &pidfd},
	}
	if sp.cgroup != nil {
		attr.Sys.UseCgroupFD, attr.Sys.CgroupFD = true, sp.cgroup.FD()
	}
	books.Lock()
	defer books.Unlock()
	pid, _, err = syscall.StartProcess(sp.argv[0], sp.argv, attr)
	if err != nil && sp.cgroup != nil {
		// A kernel or a hierarchy that will not have it (clone3(2), CLONE_INTO_CGROUP)
		// is no reason to fail; if the program is the reason, it fails again.
		attr.Sys.UseCgroupFD = false
		pid, _, err = syscall.StartProcess(sp.argv[0], sp.argv, attr)
	}
	if err != nil {
		return 0, -1, &StartError{Program: sp.argv[0], Err: err, Hint: execHint(sp.argv[0], err)}
	}
	books.owned[pid] = sp.job
	if pidfd < 0 {
		// Nothing can watch it, so it must not run.
		_ = unix.Kill(-pid, unix.SIGKILL)
		_, _ = unix.Wait4(pid, nil, 0, nil)
		delete(books.owned, pid)
		return 0, -1, errors.New("this kernel has no pidfds: gpulaunch needs Linux 5.4 or newer")
	}
	return pid, pidfd, nil
}

// applyMemory sets the memory policy of the calling thread, which its children
// inherit (set_mempolicy(2)).
func (sp spec) applyMemory() (undo func(), err error) {
	if sp.memory == "" || sp.memory == affinity.MemoryNone {
		return func() {}, nil
	}
	restore, err := affinity.ApplyMemory(sp.memory, sp.memoryNodes)
	if err != nil {
		return nil, err
	}
	return func() { _ = restore() }, nil // as with the binding
}

// execHint says what is likely meant by a failure to start a program.
func execHint(program string, err error) string {
	if _, e := os.Stat(program); err == unix.ENOENT && e == nil {
		return "; the file is there, so the interpreter of its first line is missing"
	}
	return process.ResourceHint(err)
}

// Release says that a child has been waited for.
func (s *Spawner) Release(pid int) {
	books.Lock()
	delete(books.owned, pid)
	books.Unlock()
	select {
	case s.released <- struct{}{}:
	default:
	}
}
