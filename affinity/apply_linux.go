package affinity

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// Apply binds the calling thread to cpus and returns what binds it as before. The caller has locked the goroutine to the
// thread (runtime.LockOSThread) and calls restore on the same thread.
//
// The kernel gives the mask to every process and thread that this one starts afterwards, and keeps it over execve
// (sched_setaffinity(2)). CPUs that are offline or that the cpuset cgroup does not allow are dropped without a word as
// long as one is left; with none left the call fails with EINVAL.
func Apply(cpus CPUSet) (restore func() error, err error) {
	if cpus.IsEmpty() {
		return nil, fmt.Errorf("cannot bind a thread to no CPU at all")
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
		return fmt.Errorf("cannot bind the thread to CPUs %s: %w; are they online and allowed by the cpuset cgroup?", cpus, err)
	}
	return nil
}

// Current returns the CPUs that the thread with this ID may run on, 0 being the calling thread (sched_getaffinity(2)). A
// process ID stands for the process's main thread. The error wraps ESRCH when there is no such thread.
func Current(pid int) (CPUSet, error) {
	// The kernel refuses a mask shorter than its own with EINVAL, and its own length is told nowhere.
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
