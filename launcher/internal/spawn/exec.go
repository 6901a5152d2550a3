package spawn

import (
	"errors"
	"os"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/gpulaunch/gpulaunch/affinity"
	"github.com/gpulaunch/gpulaunch/launcher/internal/cgroup"
)

// Spec is a worker process to start.
type Spec struct {
	Job  *Job
	Argv []string // Argv[0] is a path
	Env  []string
	// Files are the child's descriptors 0, 1 and 2.
	Files [3]*os.File
	// CPUs are those that the child is bound to, from its first instruction.
	CPUs affinity.CPUSet
	// Memory is the policy for MemoryNodes, the nodes that the child's memory comes from.
	Memory      affinity.MemoryPolicy
	MemoryNodes []int
	// Cgroup is where the child begins its life; nil for this process's own.
	Cgroup *cgroup.Group
}

// ErrNoPidfd is the error on a kernel that cannot give a child's pidfd.
var ErrNoPidfd = errors.New("this kernel has no pidfds: gpulaunch needs Linux 5.4 or newer")

// ExecError is what fork or exec failed with.
type ExecError struct{ Err error }

func (e *ExecError) Error() string { return e.Err.Error() }

// Unwrap gives the kernel's error.
func (e *ExecError) Unwrap() error { return e.Err }

// Exec starts a worker as the leader of its own process group, bound to its CPUs. It must
// be called on the Spawner's thread, see Go. That the program cannot be executed is an
// *ExecError.
func (s *Spawner) Exec(sp Spec) (*Process, error) {
	restore, err := affinity.Apply(sp.CPUs)
	if err != nil {
		return nil, err
	}
	// What cannot be undone here is overridden by the next worker's own binding.
	defer func() { _ = restore() }()
	undo, err := sp.applyMemory()
	if err != nil {
		return nil, err
	}
	defer undo()
	pidfd := -1
	attr := &syscall.ProcAttr{
		Env: sp.Env, Files: []uintptr{sp.Files[0].Fd(), sp.Files[1].Fd(), sp.Files[2].Fd()},
		Sys: &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL, PidFD: &pidfd},
	}
	if sp.Cgroup != nil {
		attr.Sys.UseCgroupFD, attr.Sys.CgroupFD = true, sp.Cgroup.FD()
	}
	children.Lock()
	defer children.Unlock()
	pid, _, err := syscall.StartProcess(sp.Argv[0], sp.Argv, attr)
	if err != nil && sp.Cgroup != nil {
		// A kernel or a hierarchy that refuses it (clone3(2), CLONE_INTO_CGROUP) is no
		// reason to fail; if the program is the reason, it fails again.
		attr.Sys.UseCgroupFD = false
		pid, _, err = syscall.StartProcess(sp.Argv[0], sp.Argv, attr)
	}
	if err != nil {
		return nil, &ExecError{err}
	}
	if pidfd < 0 {
		// Nothing can watch it, so it must not run.
		_ = unix.Kill(-pid, unix.SIGKILL)
		_, _ = unix.Wait4(pid, nil, 0, nil)
		return nil, ErrNoPidfd
	}
	children.job[pid] = sp.Job
	return newProcess(s, pid, pidfd), nil
}

// applyMemory sets the memory policy of the calling thread, which its children inherit
// (set_mempolicy(2)).
func (sp Spec) applyMemory() (undo func(), err error) {
	if sp.Memory == "" || sp.Memory == affinity.MemoryNone {
		return func() {}, nil
	}
	restore, err := affinity.ApplyMemory(sp.Memory, sp.MemoryNodes)
	if err != nil {
		return nil, err
	}
	return func() { _ = restore() }, nil // as with the binding
}
