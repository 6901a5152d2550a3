//go:build linux && !nonvml

package nvml

import "unsafe"

// FabricState says how far a GPU has come in joining the NVSwitch fabric (nvmlGpuFabricState_t).
type FabricState uint8

// The fabric states.
const (
	FabricNotSupported FabricState = 0
	FabricNotStarted   FabricState = 1
	FabricInProgress   FabricState = 2
	FabricCompleted    FabricState = 3
)

// FabricHealth is what the fabric reports about a GPU that has joined it
// (NVML_GPU_FABRIC_HEALTH_SUMMARY_*).
type FabricHealth uint8

// The health values.
const (
	FabricHealthUnknown   FabricHealth = 0
	FabricHealthy         FabricHealth = 1
	FabricUnhealthy       FabricHealth = 2
	FabricLimitedCapacity FabricHealth = 3
)

// FabricInfo is the state of a GPU in the NVSwitch fabric.
type FabricInfo struct {
	State FabricState
	// Status is the result of joining. It means something only if State is FabricCompleted.
	Status Return
	// Health is FabricHealthUnknown with drivers that do not report it.
	Health FabricHealth
}

// Fabric returns the GPU's state in the NVSwitch fabric (nvmlDeviceGetGpuFabricInfoV with version 3
// and 2 of its struct, nvmlDeviceGetGpuFabricInfo). For a GPU without NVSwitch the error is
// [ErrNotSupported] or the state FabricNotSupported.
func (d Device) Fabric() (FabricInfo, error) {
	v3 := fabricV3{version: fabricV3Version}
	err := d.lib.call(deviceFabricV, d.handle, uintptr(unsafe.Pointer(&v3)))
	if !tooNew(err) {
		return FabricInfo{FabricState(v3.state), Return(v3.status), FabricHealth(v3.summary)}, err
	}
	v2 := fabricV2{version: fabricV2Version}
	err = d.lib.call(deviceFabricV, d.handle, uintptr(unsafe.Pointer(&v2)))
	if !tooNew(err) {
		return FabricInfo{State: FabricState(v2.state), Status: Return(v2.status)}, err
	}
	var v1 fabricV1
	err = d.lib.call(deviceFabric, d.handle, uintptr(unsafe.Pointer(&v1)))
	return FabricInfo{State: FabricState(v1.state), Status: Return(v1.status)}, err
}
