//go:build linux && !nonvml

package nvml

import (
	"errors"
	"unsafe"
)

const (
	// affinityScopeNode is NVML_AFFINITY_SCOPE_NODE.
	affinityScopeNode = 0

	// cpuWords is enough for 8192 CPUs, the most that Linux can be built for.
	cpuWords = 8192 / 64

	// maxCPUWords is where growing ends if a library always asks for more.
	maxCPUWords = 64 * cpuWords
)

// CPUAffinityWithinNUMA returns the CPUs on the GPU's NUMA node: bit i of word w stands for CPU
// 64*w+i. Words after the last CPU are left out. The set is not restricted to the CPUs that this
// process may use (nvmlDeviceGetCpuAffinityWithinScope, nvmlDeviceGetCpuAffinity).
//
// Errors: [ErrNotSupported], [ErrGPUIsLost] and others.
func (d Device) CPUAffinityWithinNUMA() ([]uint64, error) {
	for size := cpuWords; ; size *= 2 {
		words, err := d.cpuAffinity(size)
		if !errors.Is(err, ErrInsufficientSize) || size == maxCPUWords {
			return words, err
		}
	}
}

func (d Device) cpuAffinity(size int) ([]uint64, error) {
	words := make([]uint64, size)
	n := uintptr(size)
	err := d.lib.call(deviceCPUsInScope, d.handle,
		n, uintptr(unsafe.Pointer(&words[0])), affinityScopeNode)
	if tooNew(err) {
		err = d.lib.call(deviceCPUs, d.handle, n, uintptr(unsafe.Pointer(&words[0])))
	}
	if err != nil {
		return nil, err
	}
	for len(words) > 0 && words[len(words)-1] == 0 {
		words = words[:len(words)-1]
	}
	return words, nil
}
