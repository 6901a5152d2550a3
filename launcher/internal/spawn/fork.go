package spawn

import (
	"fmt"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/gpulaunch/gpulaunch/affinity"
	"github.com/gpulaunch/gpulaunch/launcher/internal/forkserver"
	"github.com/gpulaunch/gpulaunch/launcher/internal/process"
)

// Fork starts a worker from a template process, and blocks as long as the template takes. By the
// time the worker is adopted, the kernel has made it a child of this process (prctl(2),
// PR_SET_CHILD_SUBREAPER), so it is waited for, signalled and swept like a worker from Exec.
func (s *Spawner) Fork(t *forkserver.Template, spec Spec) (*Process, error) {
	forkSpec := forkserver.Spec{
		Memory: memoryCalls(spec), Env: spec.Env, CPUs: slices.Collect(spec.CPUs.All()),
		Files: spec.Files,
	}
	pidfd, adopted := -1, 0
	pid, err := t.Fork(forkSpec, func(pid int) (err error) {
		if pidfd, err = adopt(pid, spec); err == nil {
			adopted = pid
		}
		return err
	})
	if err == nil {
		return newProcess(s, pid, pidfd), nil
	}
	if adopted != 0 { // it has been killed again
		_, _ = process.RetryEINTR(func() (int, error) { return unix.Wait4(adopted, nil, 0, nil) })
		s.Release(adopted)
	}
	if pidfd >= 0 {
		unix.Close(pidfd)
	}
	return nil, err
}

// memoryCalls returns the system calls with which a forked worker sets its memory policy.
func memoryCalls(spec Spec) (calls []forkserver.MemoryCall) {
	for _, m := range affinity.MemoryModes(spec.Memory, affinity.CPUs(spec.MemoryNodes...)) {
		calls = append(calls, forkserver.MemoryCall{
			Number: unix.SYS_SET_MEMPOLICY, Mode: m.Mode, Nodes: slices.Collect(m.Nodes.All()),
		})
	}
	return calls
}

// adopt records a forked worker while it still waits for its instructions, so that it is not taken
// for an orphan, and opens its pidfd.
func adopt(pid int, spec Spec) (pidfd int, err error) {
	children.Lock()
	defer children.Unlock()
	pidfd, err = unix.PidfdOpen(pid, 0)
	if process.Denied(err) {
		pidfd, err = -1, nil // the Waiter does without
	}
	if err != nil {
		return -1, fmt.Errorf("the forked worker process %d cannot be watched: %w", pid, err)
	}
	children.job[pid] = spec.Job
	if spec.Cgroup != nil {
		_ = spec.Cgroup.Add(pid) // as in Exec, a refusal is no reason to fail
	}
	return pidfd, nil
}
