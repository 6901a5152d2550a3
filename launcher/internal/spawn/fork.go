package spawn

import (
	"fmt"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/gpulaunch/gpulaunch/affinity"
	"github.com/gpulaunch/gpulaunch/launcher/internal/forkserver"
	"github.com/gpulaunch/gpulaunch/launcher/internal/process"
)

// Fork starts a worker from a template process. It blocks for as long as the template
// does. The kernel has made the worker this process's child by the time it is adopted
// (prctl(2), PR_SET_CHILD_SUBREAPER), so it is waited for, signalled and swept like one
// that Exec has started.
func (s *Spawner) Fork(t *forkserver.Template, sp Spec) (*Process, error) {
	spec := forkserver.Spec{
		Memory: memoryCalls(sp), Env: sp.Env, CPUs: slices.Collect(sp.CPUs.All()), Files: sp.Files,
	}
	pidfd, adopted := -1, 0
	pid, err := t.Fork(spec, func(pid int) (err error) {
		if pidfd, err = adopt(pid, sp); err == nil {
			adopted = pid
		}
		return err
	})
	if err == nil {
		return newProcess(s, pid, pidfd), nil
	}
	if adopted != 0 { // and killed again
		_, _ = process.RetryEINTR(func() (int, error) { return unix.Wait4(adopted, nil, 0, nil) })
		s.Release(adopted)
	}
	if pidfd >= 0 {
		unix.Close(pidfd)
	}
	return nil, err
}

// memoryCalls are the system calls with which a forked worker sets its memory policy.
func memoryCalls(sp Spec) (calls []forkserver.MemoryCall) {
	for _, m := range affinity.MemoryModes(sp.Memory, affinity.CPUs(sp.MemoryNodes...)) {
		calls = append(calls, forkserver.MemoryCall{
			Number: unix.SYS_SET_MEMPOLICY, Mode: m.Mode, Nodes: slices.Collect(m.Nodes.All()),
		})
	}
	return calls
}

// adopt records a forked worker while it still waits to be told what to be, so that
// nobody takes it for an orphan.
func adopt(pid int, sp Spec) (pidfd int, err error) {
	children.Lock()
	defer children.Unlock()
	pidfd, err = unix.PidfdOpen(pid, 0)
	if err != nil {
		return -1, fmt.Errorf("the forked worker process %d cannot be watched: %w", pid, err)
	}
	children.job[pid] = sp.Job
	if sp.Cgroup != nil {
		_ = sp.Cgroup.Add(pid) // as in Exec, a hierarchy that refuses it is no reason to fail
	}
	return pidfd, nil
}
