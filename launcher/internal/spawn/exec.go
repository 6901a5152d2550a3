package spawn

import (
	"errors"
	"os"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/gpulaunch/gpulaunch/affinity"
	"github.com/gpulaunch/gpulaunch/launcher/internal/cgroup"
)

// Spec describes a worker process to start.
type Spec struct {
	Job  *Job
	Argv []string // Argv[0] is a path
	Env  []string
	// Files are the child's descriptors 0, 1 and 2.
	Files [3]*os.File
	// CPUs are the CPUs that the child is bound to, from its first instruction.
	CPUs affinity.CPUSet
	// Memory is the memory policy, and MemoryNodes the nodes that it uses.
	Memory      affinity.MemoryPolicy
	MemoryNodes []int
	// Cgroup is the control group in which the child starts; nil means this process's own.
	Cgroup *cgroup.Group
}

// ErrNoPidfd is the error if the kernel does not return a pidfd for a child.
var ErrNoPidfd = errors.New("this kernel has no pidfds: gpulaunch needs Linux 5.4 or newer")

// ExecError is an error from fork or exec.
type ExecError struct{ Err error }

func (e *ExecError) Error() string { return e.Err.Error() }

// Unwrap returns the kernel's error.
func (e *ExecError) Unwrap() error { return e.Err }

// Exec starts a worker as the leader of its own process group, bound to its CPUs. It must be called
// on the Spawner's thread, see Go. The error is an *ExecError if the program cannot be executed.
func (s *Spawner) Exec(spec Spec) (*Process, error) {
	restore, err := affinity.Apply(spec.CPUs)
	if err != nil {
		return nil, err
	}
	// If this fails, it does no harm, because the next worker's binding replaces this one.
	defer func() { _ = restore() }()
	undo, err := spec.applyMemory()
	if err != nil {
		return nil, err
	}
	defer undo()
	pidfd := -1
	attr := &syscall.ProcAttr{
		Env: spec.Env, Files: []uintptr{spec.Files[0].Fd(), spec.Files[1].Fd(), spec.Files[2].Fd()},
		Sys: &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL, PidFD: &pidfd},
	}
	if spec.Cgroup != nil {
		attr.Sys.UseCgroupFD, attr.Sys.CgroupFD = true, spec.Cgroup.FD()
	}
	children.Lock()
	defer children.Unlock()
	pid, _, err := syscall.StartProcess(spec.Argv[0], spec.Argv, attr)
	if err != nil && spec.Cgroup != nil {
		// The kernel or the hierarchy may refuse to start it in the group (clone3(2),
		// CLONE_INTO_CGROUP), which is no reason to fail. If the program is the reason for the
		// error, it fails again.
		attr.Sys.UseCgroupFD = false
		pid, _, err = syscall.StartProcess(spec.Argv[0], spec.Argv, attr)
	}
	if err != nil {
		return nil, &ExecError{err}
	}
	if pidfd < 0 {
		// Without a pidfd, nothing can wait for it, so it must not run.
		_ = unix.Kill(-pid, unix.SIGKILL)
		_, _ = unix.Wait4(pid, nil, 0, nil)
		return nil, ErrNoPidfd
	}
	children.job[pid] = spec.Job
	return newProcess(s, pid, pidfd), nil
}

// applyMemory sets the memory policy of the calling thread, which its children inherit
// (set_mempolicy(2)).
func (spec Spec) applyMemory() (undo func(), err error) {
	if spec.Memory == "" || spec.Memory == affinity.MemoryNone {
		return func() {}, nil
	}
	restore, err := affinity.ApplyMemory(spec.Memory, spec.MemoryNodes)
	if err != nil {
		return nil, err
	}
	return func() { _ = restore() }, nil // a failure does no harm, as with the binding
}
