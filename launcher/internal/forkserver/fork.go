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

// Spec is what a worker gets.
type Spec struct {
	// Env is its whole environment.
	Env []string
	// CPUs are those that it may run on; nil leaves it those of the template.
	CPUs []int
	// Memory sets its memory policy: the first of these calls that the kernel knows.
	// Empty leaves the template's.
	Memory []MemoryCall
	// Files are its descriptors 0, 1 and 2. The caller keeps its own.
	Files [3]*os.File
}

// MemoryCall is a call of set_mempolicy(2): the number of the system call on this
// architecture, the mode and the nodes.
type MemoryCall struct {
	Number int   `json:"number"`
	Mode   int   `json:"mode"`
	Nodes  []int `json:"nodes"`
}

// Fork starts one worker, as the leader of a process group, and returns when it is
// about to run its script. It waits for Ready; when the template dies or is closed,
// it returns an error.
//
// adopt is called with the worker's pid while it waits and nothing of spec is set:
// it is the time to write the pid down, to open a pidfd and to move the process into
// a control group. From adopt's nil on, the worker is the caller's to wait for, even
// if Fork returns an error then; Fork has killed it in that case. Until then it is
// Fork's: if adopt returns an error, Fork kills the worker and waits for it.
func (t *Template) Fork(spec Spec, adopt func(pid int) error) (pid int, err error) {
	<-t.ready
	if t.err != nil {
		return 0, t.err
	}
	t.oneByOne.Lock()
	defer t.oneByOne.Unlock()
	control, theirs, err := pair()
	if err != nil {
		return 0, err
	}
	defer control.Close()
	defer t.closeWithTemplate(control)()
	pid, err = t.ask(theirs, spec.Files)
	if err != nil {
		return 0, err
	}
	w, err := hold(pid)
	if err != nil {
		return 0, err
	}
	defer unix.Close(w.pidfd)
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

// closeWithTemplate closes the connection if the template ends before the returned
// function is called.
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

// ask has the template fork a worker with the control connection and the files. It
// closes control.
func (t *Template) ask(control *os.File, files [3]*os.File) (pid int, err error) {
	rights := unix.UnixRights(int(control.Fd()), int(files[0].Fd()), int(files[1].Fd()), int(files[2].Fd()))
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
	case err != nil && broken(err):
		return 0, fmt.Errorf("the template does not make sense: %w", err)
	case err != nil:
		return 0, t.gone()
	case reply.Errno != 0:
		return 0, fmt.Errorf("cannot fork a worker from the template: %s: %w",
			unix.ErrnoName(reply.Errno), process.WithResourceHint(reply.Errno))
	}
	return reply.PID, nil
}

// setUp sends a worker what it is to be and waits until it is.
func (t *Template) setUp(control *net.UnixConn, spec Spec) error {
	err := send(control, struct {
		Env        []byte       `json:"env"` // in base 64, because it need not be UTF-8
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
		return errors.New("a forked worker could not be set up: " + reply.Error)
	case reply.Done:
		return nil
	case errors.Is(err, net.ErrClosed):
		return t.gone()
	}
	return fmt.Errorf("a forked worker ended while it was being set up (%v)", err)
}

// worker is a process that is held on to by its pidfd.
type worker struct {
	pid, pidfd int
}

// hold makes sure that the worker is this process's child. If it cannot, it has
// ended the worker.
func hold(pid int) (worker, error) {
	w := worker{pid: pid}
	d, ok := process.Read(pid)
	if !ok {
		return w, fmt.Errorf("the forked worker (process %d) ended at once", pid)
	}
	var err error
	if w.pidfd, err = unix.PidfdOpen(pid, 0); err != nil {
		if d.Parent == os.Getpid() {
			_ = unix.Kill(pid, unix.SIGKILL)
			_, _ = process.RetryEINTR(func() (int, error) { return unix.Wait4(pid, nil, 0, nil) })
		}
		return w, fmt.Errorf("cannot hold on to the forked worker (process %d): %w", pid, process.WithResourceHint(err))
	}
	if d.Parent == os.Getpid() {
		return w, nil
	}
	w.kill()
	unix.Close(w.pidfd)
	return w, fmt.Errorf("the forked worker (process %d) has become a child of process %d, not of this one (%d), "+
		"which must be a child subreaper", pid, d.Parent, os.Getpid())
}

// kill cannot hit another process that has got the number since.
func (w worker) kill() { _ = unix.PidfdSendSignal(w.pidfd, unix.SIGKILL, nil, 0) }

// wait collects a killed worker, unless somebody has collected it as an orphan.
func (w worker) wait() {
	_, _ = process.RetryEINTR(func() (int, error) {
		return 0, unix.Waitid(unix.P_PIDFD, w.pidfd, nil, unix.WEXITED, nil)
	})
}
