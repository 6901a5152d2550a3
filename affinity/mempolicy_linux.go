package affinity

import (
	"errors"
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"
)

// ApplyMemory sets the memory policy of the calling thread and returns what sets the one before. The caller has locked
// the goroutine to the thread (runtime.LockOSThread) and calls restore on the same thread. The policy none changes
// nothing. Nodes that the cpuset does not allow or that have no memory are dropped by the kernel as long as one is left.
//
// The kernel gives the policy to every process and thread that this one starts afterwards, and keeps it over execve
// (set_mempolicy(2)). The error wraps errors.ErrUnsupported where the kernel has no memory policies (ENOSYS) or the
// container's seccomp profile refuses them (EPERM, which the system calls themselves never give).
func ApplyMemory(policy MemoryPolicy, nodes []int) (restore func() error, err error) {
	if _, err := ParseMemoryPolicy(string(policy)); err != nil {
		return nil, err
	}
	if policy == MemoryNone {
		return func() error { return nil }, nil
	}
	set := CPUs(nodes...)
	if set.IsEmpty() {
		return nil, fmt.Errorf("cannot set the memory policy %s on no NUMA node at all", policy)
	}
	before, err := currentMemory()
	if err == nil {
		err = setPolicy(policy, set)
	}
	if err != nil {
		return nil, memoryError(policy, set, err)
	}
	return func() error {
		if err := setMemory(before); err != nil {
			return fmt.Errorf("cannot set the memory policy back to what it was: %w", err)
		}
		return nil
	}, nil
}

func setPolicy(policy MemoryPolicy, nodes CPUSet) (err error) {
	for _, m := range MemoryModes(policy, nodes) {
		if err = setMemory(memory{m.Mode, m.Nodes}); err != unix.EINVAL {
			break
		}
	}
	return err
}

// MemoryMode are the first arguments of set_mempolicy(2).
type MemoryMode struct {
	Mode  int
	Nodes CPUSet
}

// MemoryModes are what to call set_mempolicy with for a policy, for a process that has to do it by itself: the next one
// if the kernel does not know the one before (EINVAL).
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
		return []MemoryMode{{unix.MPOL_PREFERRED_MANY, nodes}, one} // Linux before 5.15 does not know the former
	}
	return nil
}

func memoryError(policy MemoryPolicy, nodes CPUSet, err error) error {
	err = fmt.Errorf("cannot set the memory policy %s on NUMA nodes %s: %w", policy, nodes, err)
	if errors.Is(err, unix.ENOSYS) || errors.Is(err, unix.EPERM) {
		return fmt.Errorf("%w (%w here); allow set_mempolicy and get_mempolicy in the container's seccomp profile, or use the memory policy none",
			err, errors.ErrUnsupported)
	}
	return err
}

// memory is a thread's policy as the kernel has it: the mode with its flags, and the nodes.
type memory struct {
	mode  int
	nodes CPUSet
}

// setMemory sets the policy of the calling thread. The error is the bare one of the system call.
func setMemory(m memory) error {
	// The kernel is told how long the mask is and takes one bit less for nodes. x/sys gives it the number of bytes where
	// it counts bits, so the mask is eight times as long as it would have to be. The bits that are too many are zero,
	// which the kernel allows (get_nodes in mm/mempolicy.c).
	mask := unix.NewCPUSet(8 * (m.nodes.Max() + 2))
	for node := range m.nodes.All() {
		mask.Set(node)
	}
	return unix.SetMemPolicyDynamic(m.mode, mask)
}

// currentMemory returns the policy of the calling thread. It is the one place outside the NVML binding that needs an
// unsafe pointer: x/sys has no get_mempolicy(2). Both pointers are to variables of this function that live on until the
// call returns (unsafe.Pointer, rule 4). The kernel writes an int to the first and maxnode bits, a multiple of 64 here,
// to the second.
func currentMemory() (memory, error) {
	// The kernel refuses a mask with fewer bits than it has node numbers with EINVAL, and that number is told nowhere.
	for bits := 1024; ; bits *= 2 {
		var mode int32
		mask := unix.NewCPUSet(bits)
		_, _, errno := unix.Syscall6(unix.SYS_GET_MEMPOLICY,
			uintptr(unsafe.Pointer(&mode)), uintptr(unsafe.Pointer(&mask[0])), uintptr(bits), 0, 0, 0)
		switch {
		case errno == unix.EINVAL && bits < maxCPUs:
		case errno != 0:
			return memory{}, errno
		default:
			return memory{int(mode), fromMask(mask, bits)}, nil
		}
	}
}
