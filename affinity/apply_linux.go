package affinity

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// Apply binds the calling thread to cpus. It returns a function that restores the previous binding.
// The caller must have locked the goroutine to its thread (runtime.LockOSThread), and must call
// restore on the same thread.
//
// Processes and threads that this thread starts afterwards inherit the binding, and execve keeps it
// (sched_setaffinity(2)). The kernel silently drops CPUs that are offline or that the cpuset cgroup
// does not allow. If none is left, Apply fails with EINVAL.
func Apply(cpus CPUSet) (restore func() error, err error) {
	if cpus.IsEmpty() {
		return nil, fmt.Errorf("cannot bind a thread to an empty set of CPUs")
	}
	before, err := Current(0)
	if err != nil {
		return nil, err
	}
	if err := setAffinity(cpus); err != nil {
		return nil, err
	}
	return func() error { return setAffinity(before) }, nil
}

func setAffinity(cpus CPUSet) error {
	mask := unix.NewCPUSet(cpus.Max() + 1)
	for cpu := range cpus.All() {
		mask.Set(cpu)
	}
	if err := unix.SchedSetaffinityDynamic(0, mask); err != nil {
		return fmt.Errorf("cannot bind the thread to CPUs %s: %w; check that one of them is "+
			"online and allowed by the cpuset cgroup", cpus, err)
	}
	return nil
}

// Current returns the CPUs that the thread with this ID may run on (sched_getaffinity(2)). The ID 0
// means the calling thread, and a process ID means the process's main thread. If there is no such
// thread, the error wraps ESRCH.
func Current(pid int) (CPUSet, error) {
	// The kernel refuses a mask that is shorter than its own with EINVAL, and nothing tells how
	// long that one is.
	for size := 1024; ; size *= 2 {
		mask := unix.NewCPUSet(size)
		err := unix.SchedGetaffinityDynamic(pid, mask)
		if err == unix.EINVAL && size < maxCPUs {
			continue
		}
		if err != nil {
			return CPUSet{}, fmt.Errorf("cannot read the CPU affinity of thread %d: %w", pid, err)
		}
		return fromMask(mask, size), nil
	}
}

func fromMask(mask unix.CPUSetDynamic, size int) CPUSet {
	var words []uint64
	for cpu := range size {
		if mask.IsSet(cpu) {
			words = setBit(words, cpu)
		}
	}
	return trimmed(words)
}
