//go:build linux && !nonvml

package nvml

import "fmt"

// ComputeMode says which processes may use a GPU for computing (nvmlComputeMode_t).
type ComputeMode uint32

// The compute modes.
const (
	ComputeDefault          ComputeMode = 0 // any number of processes
	ComputeExclusiveThread  ComputeMode = 1 // one thread; no longer supported by NVIDIA
	ComputeProhibited       ComputeMode = 2 // no process
	ComputeExclusiveProcess ComputeMode = 3 // one process
)

// String returns the mode's name in lower case, such as "exclusive-process".
func (m ComputeMode) String() string {
	switch m {
	case ComputeDefault:
		return "default"
	case ComputeExclusiveThread:
		return "exclusive-thread"
	case ComputeProhibited:
		return "prohibited"
	case ComputeExclusiveProcess:
		return "exclusive-process"
	}
	return fmt.Sprintf("unknown (%d)", uint32(m))
}

// ComputeMode returns the GPU's current mode (nvmlDeviceGetComputeMode).
func (d Device) ComputeMode() (ComputeMode, error) {
	mode, err := d.number(deviceComputeMode)
	return ComputeMode(mode), err
}
