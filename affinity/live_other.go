//go:build !linux

package affinity

import (
	"errors"
	"fmt"

	"github.com/gpulaunch/gpulaunch/affinity/internal/rootfs"
)

// errNeedsLinux is why everything that concerns the live machine fails.
var errNeedsLinux = fmt.Errorf("this needs Linux (%w)", errors.ErrUnsupported)

func newReader(root string) (reader, error) {
	if root == "" {
		return nil, errNeedsLinux
	}
	return newPortableReader(root, rootfs.Native())
}

// Apply fails: it needs Linux.
func Apply(cpus CPUSet) (restore func() error, err error) {
	return nil, fmt.Errorf("cannot bind a thread to CPUs %s: %w", cpus, errNeedsLinux)
}

// Current fails: it needs Linux.
func Current(pid int) (CPUSet, error) {
	return CPUSet{}, fmt.Errorf("cannot read the CPU affinity of thread %d: %w", pid, errNeedsLinux)
}

// CurrentAll fails: it needs Linux.
func CurrentAll(pid int) (map[int]CPUSet, error) {
	return nil, fmt.Errorf("cannot read the threads of process %d: %w", pid, errNeedsLinux)
}

// ApplyMemory fails: it needs Linux.
func ApplyMemory(policy MemoryPolicy, nodes []int) (restore func() error, err error) {
	return nil, fmt.Errorf("cannot set the memory policy %s on NUMA nodes %s: %w",
		policy, CPUs(nodes...), errNeedsLinux)
}
