//go:build linux

package forkserver

import (
	"errors"
	"fmt"
	"net"
	"os"
	"runtime"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/gpulaunch/gpulaunch/launcher/internal/process"
)

// Spec describes a worker.
type Spec struct {
	// Env is the worker's whole environment.
	Env []string
	// CPUs are the CPUs that the worker may use. nil means those of the template process.
	CPUs []int
	// Memory are calls that set the worker's memory policy, the preferred one first. The worker
	// makes the first call that the kernel supports. Without calls it keeps the policy of the
	// template process.
	Memory []MemoryCall
	// Files become the descriptors 0, 1 and 2. Fork does not close them.
	Files [3]*os.File
}

// MemoryCall is a call of set_mempolicy(2): the system call's number on this architecture, the
// mode and the nodes.
type MemoryCall struct {
	Number int   `json:"number"`
	Mode   int   `json:"mode"`
	Nodes  []int `json:"nodes"`
}

// Fork starts one worker as the leader of a process group of its own, and returns when the worker
// is about to run its script. It first waits for Ready. It returns an error if the template process
// dies or is closed.
//
// Fork calls adopt with the worker's pid while the worker waits and has none of the properties in
// spec yet. adopt can record the pid, open a pidfd and move the worker into a control group.
// When adopt has returned nil, the caller must wait for the worker, even if Fork returns an error:
// Fork has killed the worker then. If adopt returns an error, Fork kills the worker and waits for
// it.
func (t *Template) Fork(spec Spec, adopt func(pid int) error) (pid int, err error) {
	<-t.ready
	if t.err != nil {
		return 0, t.err
	}
	t.forking.Lock()
	defer t.forking.Unlock()
	control, theirs, err := pair()
	if err != nil {
		return 0, err
	}
	defer control.Close()
	defer t.closeWithTemplate(control)()
	pid, err = t.requestFork(theirs, spec.Files)
	if err != nil {
		return 0, err
	}
	w, err := claim(pid)
	if err != nil {
		return 0, err
	}
	defer w.close()
	if err := adopt(pid); err != nil {
		w.kill()
		w.wait()
		return 0, err
	}
	if err := t.setUp(control, spec); err != nil {
		w.kill()
		return 0, err
	}
	return pid, nil
}

// closeWithTemplate closes the connection if the template process ends or is closed before stop is
// called.
func (t *Template) closeWithTemplate(c *net.UnixConn) (stop func()) {
	done := make(chan struct{})
	go func() {
		select {
		case <-t.dead:
			c.Close()
		case <-t.closed:
			c.Close()
		case <-done:
		}
	}()
	return func() { close(done) }
}

// requestFork has the template process fork a worker that gets the control connection and the
// files, and returns the worker's pid. It closes control.
func (t *Template) requestFork(control *os.File, files [3]*os.File) (pid int, err error) {
	rights := unix.UnixRights(int(control.Fd()),
		int(files[0].Fd()), int(files[1].Fd()), int(files[2].Fd()))
	_, _, err = t.link.WriteMsgUnix([]byte("f"), rights, nil)
	runtime.KeepAlive(files)
	control.Close()
	var reply struct {
		PID   int
		Errno syscall.Errno
	}
	if err == nil {
		err = receive(t.link, &reply)
	}
	switch {
	case err != nil && isInvalid(err):
		return 0, fmt.Errorf("the template process sent an invalid message: %w", err)
	case err != nil:
		return 0, t.exitError()
	case reply.Errno != 0:
		return 0, fmt.Errorf("cannot fork a worker from the template process: %s: %w",
			unix.ErrnoName(reply.Errno), process.WithResourceHint(reply.Errno))
	}
	return reply.PID, nil
}

// setUp sends the spec to a worker, and waits until the worker has all properties in it.
func (t *Template) setUp(control *net.UnixConn, spec Spec) error {
	err := send(control, struct {
		Env        []byte       `json:"env"` // in base64, because variables need not be UTF-8
		CPUs       []int        `json:"cpus"`
		Memory     []MemoryCall `json:"memory"`
		Supervisor int          `json:"supervisor"`
	}{[]byte(strings.Join(spec.Env, "\x00")), spec.CPUs, spec.Memory, os.Getpid()})
	var reply struct {
		failure
		Done bool
	}
	if err == nil {
		err = receive(control, &reply)
	}
	switch {
	case reply.Error != "":
		return errors.New("cannot set up a forked worker: " + reply.Error)
	case reply.Done:
		return nil
	case errors.Is(err, net.ErrClosed):
		return t.exitError()
	}
	return fmt.Errorf("a forked worker ended while it was being set up (%v)", err)
}

// worker is a forked process with a pidfd, which names it even after it has ended. The pidfd is -1 if
// a filter of system calls denies it.
type worker struct {
	process.Descendant
	pidfd int
}

// claim opens a pidfd for a forked worker, after making sure that it is a child of this process.
// If claim returns an error, it has killed the worker.
func claim(pid int) (worker, error) {
	d, ok := process.Read(pid)
	w := worker{d, -1}
	if !ok {
		return w, fmt.Errorf("the forked worker (pid %d) ended at once", pid)
	}
	var err error
	if w.pidfd, err = unix.PidfdOpen(pid, 0); err != nil && !process.Denied(err) {
		if d.Parent == os.Getpid() {
			_ = unix.Kill(pid, unix.SIGKILL)
			_, _ = process.RetryEINTR(func() (int, error) { return unix.Wait4(pid, nil, 0, nil) })
		}
		return w, fmt.Errorf("cannot watch the forked worker (pid %d): %w",
			pid, process.WithResourceHint(err))
	}
	if d.Parent == os.Getpid() {
		return w, nil
	}
	w.kill()
	w.close()
	return w, fmt.Errorf("the forked worker (pid %d) became a child of process %d "+
		"instead of this one (%d): make this process a child subreaper", pid, d.Parent, os.Getpid())
}

// kill never hits another process that has got the same pid, see [process.Descendant.Signal].
func (w worker) kill() { _ = w.Signal(unix.SIGKILL) }

func (w worker) close() {
	if w.pidfd >= 0 {
		unix.Close(w.pidfd)
	}
}

// wait waits for a killed worker. It returns at once if the worker has been waited for as an
// orphan.
func (w worker) wait() {
	kind, id := unix.P_PIDFD, w.pidfd
	if w.pidfd < 0 {
		kind, id = unix.P_PID, w.PID
	}
	_, _ = process.RetryEINTR(func() (int, error) {
		return 0, unix.Waitid(kind, id, nil, unix.WEXITED, nil)
	})
}
