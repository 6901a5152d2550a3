package affinity

import (
	"errors"
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"
)

// ApplyMemory sets the memory policy of the calling thread. It returns a function that restores the
// previous policy. The caller must have locked the goroutine to its thread (runtime.LockOSThread),
// and must call restore on the same thread. The policy none changes nothing.
//
// Processes and threads that this thread starts afterwards inherit the policy, and execve keeps it
// (set_mempolicy(2)). The kernel drops nodes that have no memory or that the cpuset does not allow.
// If none is left, ApplyMemory fails with EINVAL. The error wraps errors.ErrUnsupported where the
// kernel has no memory policies (ENOSYS) or the container's seccomp profile forbids them (EPERM,
// which the system calls themselves never return).
func ApplyMemory(policy MemoryPolicy, nodes []int) (restore func() error, err error) {
	if _, err := ParseMemoryPolicy(string(policy)); err != nil {
		return nil, err
	}
	if policy == MemoryNone {
		return func() error { return nil }, nil
	}
	set := CPUs(nodes...)
	if set.IsEmpty() {
		return nil, fmt.Errorf("cannot set the memory policy %s without a NUMA node", policy)
	}
	before, err := currentPolicy()
	if err == nil {
		err = setPolicy(policy, set)
	}
	if err != nil {
		return nil, memoryError(policy, set, err)
	}
	return func() error {
		if err := setThreadPolicy(before); err != nil {
			return fmt.Errorf("cannot set the memory policy back to what it was: %w", err)
		}
		return nil
	}, nil
}

func setPolicy(policy MemoryPolicy, nodes CPUSet) (err error) {
	for _, m := range MemoryModes(policy, nodes) {
		if err = setThreadPolicy(threadPolicy{m.Mode, m.Nodes}); err != unix.EINVAL {
			break
		}
	}
	return err
}

// MemoryMode is the arguments of set_mempolicy(2): the mode and the nodes in its mask.
type MemoryMode struct {
	Mode  int
	Nodes CPUSet
}

// MemoryModes returns the arguments of set_mempolicy(2) for a policy, for a process that has to
// call it on its own. If the kernel does not know the first ones (EINVAL), the next ones are to be
// tried.
func MemoryModes(policy MemoryPolicy, nodes CPUSet) []MemoryMode {
	switch policy {
	case MemoryBind:
		return []MemoryMode{{unix.MPOL_BIND, nodes}}
	case MemoryInterleave:
		return []MemoryMode{{unix.MPOL_INTERLEAVE, nodes}}
	case MemoryPreferred:
		one := MemoryMode{unix.MPOL_PREFERRED, CPUs(nodes.Min())}
		if nodes.Len() == 1 {
			return []MemoryMode{one}
		}
		// MPOL_PREFERRED_MANY is new in Linux 5.15.
		return []MemoryMode{{unix.MPOL_PREFERRED_MANY, nodes}, one}
	}
	return nil
}

func memoryError(policy MemoryPolicy, nodes CPUSet, err error) error {
	err = fmt.Errorf("cannot set the memory policy %s on NUMA nodes %s: %w", policy, nodes, err)
	if errors.Is(err, unix.ENOSYS) || errors.Is(err, unix.EPERM) {
		return fmt.Errorf("%w (%w here); allow set_mempolicy and get_mempolicy in the container's "+
			"seccomp profile, or use the memory policy none", err, errors.ErrUnsupported)
	}
	return err
}

// threadPolicy is a thread's memory policy as the kernel has it: the mode with its flags, and the
// nodes.
type threadPolicy struct {
	mode  int
	nodes CPUSet
}

// setThreadPolicy sets the policy of the calling thread. It returns the system call's error as it
// is.
func setThreadPolicy(p threadPolicy) error {
	// set_mempolicy(2) takes the length of the mask in bits, and uses one bit less than that. x/sys
	// passes the length in bytes, so the mask has to be eight times as long. The additional bits
	// are zero, which the kernel allows (get_nodes in mm/mempolicy.c).
	mask := unix.NewCPUSet(8 * (p.nodes.Max() + 2))
	for node := range p.nodes.All() {
		mask.Set(node)
	}
	return unix.SetMemPolicyDynamic(p.mode, mask)
}

// currentPolicy returns the policy of the calling thread. It is the only place outside the NVML
// binding that needs an unsafe pointer, because x/sys has no get_mempolicy(2). Both pointers are to
// variables of this function that live until the call returns (unsafe.Pointer, rule 4). The kernel
// writes an int to the first, and to the second as many bits as we say, which is a multiple of 64.
func currentPolicy() (threadPolicy, error) {
	// The kernel refuses a mask that has fewer bits than it has node numbers with EINVAL, and
	// nothing tells how many it has.
	for bits := 1024; ; bits *= 2 {
		var mode int32
		mask := unix.NewCPUSet(bits)
		_, _, errno := unix.Syscall6(unix.SYS_GET_MEMPOLICY, uintptr(unsafe.Pointer(&mode)),
			uintptr(unsafe.Pointer(&mask[0])), uintptr(bits), 0, 0, 0)
		switch {
		case errno == unix.EINVAL && bits < maxCPUs:
		case errno != 0:
			return threadPolicy{}, errno
		default:
			return threadPolicy{int(mode), fromMask(mask, bits)}, nil
		}
	}
}
