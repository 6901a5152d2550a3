//go:build linux && !nonvml

package nvml

import "unsafe"

// FabricState is how far a GPU has come in joining the NVSwitch fabric (nvmlGpuFabricState_t).
type FabricState uint8

// The fabric states.
const (
	FabricNotSupported FabricState = 0
	FabricNotStarted   FabricState = 1
	FabricInProgress   FabricState = 2
	FabricCompleted    FabricState = 3
)

// FabricHealth is the fabric's opinion of a GPU that has joined (NVML_GPU_FABRIC_HEALTH_SUMMARY_*).
type FabricHealth uint8

// The fabric's opinions.
const (
	FabricHealthUnknown   FabricHealth = 0
	FabricHealthy         FabricHealth = 1
	FabricUnhealthy       FabricHealth = 2
	FabricLimitedCapacity FabricHealth = 3
)

// FabricInfo is where a GPU stands in the NVSwitch fabric.
type FabricInfo struct {
	State FabricState
	// Status is the outcome of joining, and means something once State is FabricCompleted.
	Status Return
	// Health is FabricHealthUnknown on drivers that do not tell.
	Health FabricHealth
}

// Fabric asks for it (nvmlDeviceGetGpuFabricInfoV with version 3 and 2 of its struct, nvmlDeviceGetGpuFabricInfo). A
// GPU without NVSwitch gives [ErrNotSupported] or FabricNotSupported.
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
