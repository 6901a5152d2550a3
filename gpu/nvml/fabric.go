//go:build linux && !nonvml

package nvml

import (
	"fmt"
	"strings"
	"unsafe"
)

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

// FabricMask has several statements about the health of the GPU in the fabric, each in a few bits
// (NVML_GPU_FABRIC_HEALTH_MASK_*). Version 2 of the struct has it, version 3 adds the summary.
type FabricMask uint32

// maskTrue is the value of a statement that is true. 0 means that it is not supported, and 2 that
// it is false.
const maskTrue = 1

// The statements' first bits, and the values of the statement about the configuration.
const (
	shiftDegradedBandwidth = 0
	shiftRouteRecovery     = 2
	shiftRouteUnhealthy    = 4
	shiftTimeoutRecovery   = 6
	shiftConfiguration     = 8
	widthStatement         = 3  // mask of two bits
	widthConfiguration     = 15 // mask of four bits
	configurationUnknown   = 0
	configurationCorrect   = 1
)

// configurations are the values of the statement about the configuration, in words.
var configurations = []string{
	2: "system GUID", 3: "chassis serial number", 4: "no partition", 5: "too few NVLinks",
	6: "incompatible GPU firmware", 7: "invalid location", 8: "invalid state of the GPU",
}

// holds reports whether a statement is true.
func (m FabricMask) holds(shift int) bool { return m>>shift&widthStatement == maskTrue }

// Problems returns what the mask says is wrong, in words: that the GPU cannot be relied on
// (broken), or that it works with less bandwidth, or not at once (limited). Both are empty if
// nothing is wrong.
func (m FabricMask) Problems() (broken, limited string) {
	var broke, limits []string
	for _, s := range []struct {
		shift int
		text  string
		to    *[]string
	}{
		{shiftRouteUnhealthy, "a route is unhealthy", &broke},
		{shiftDegradedBandwidth, "the bandwidth is degraded", &limits},
		{shiftRouteRecovery, "a route is being recovered", &limits},
		{shiftTimeoutRecovery, "an access timeout is being recovered from", &limits},
	} {
		if m.holds(s.shift) {
			*s.to = append(*s.to, s.text)
		}
	}
	switch c := m >> shiftConfiguration & widthConfiguration; {
	case c == configurationUnknown, c == configurationCorrect:
	case int(c) < len(configurations):
		broke = append(broke, "the configuration is incorrect: "+configurations[c])
	default:
		broke = append(broke, fmt.Sprintf("the configuration is incorrect (%d)", uint32(c)))
	}
	return strings.Join(broke, ", "), strings.Join(limits, ", ")
}

// FabricInfo is the state of a GPU in the NVSwitch fabric.
type FabricInfo struct {
	State FabricState
	// Status is the result of joining. It means something only if State is FabricCompleted.
	Status Return
	// Health is FabricHealthUnknown with drivers that do not report it.
	Health FabricHealth
	// Mask says more about the health. It is 0 with drivers that do not report it.
	Mask FabricMask
}

// Fabric returns the GPU's state in the NVSwitch fabric (nvmlDeviceGetGpuFabricInfoV with version 3
// and 2 of its struct, nvmlDeviceGetGpuFabricInfo). For a GPU without NVSwitch the error is
// [ErrNotSupported] or the state FabricNotSupported.
func (d Device) Fabric() (FabricInfo, error) {
	v3 := fabricV3{version: fabricV3Version}
	err := d.lib.call(deviceFabricV, d.handle, uintptr(unsafe.Pointer(&v3)))
	if !tooNew(err) {
		return FabricInfo{
			FabricState(v3.state), Return(v3.status), FabricHealth(v3.summary), FabricMask(v3.mask),
		}, err
	}
	v2 := fabricV2{version: fabricV2Version}
	err = d.lib.call(deviceFabricV, d.handle, uintptr(unsafe.Pointer(&v2)))
	if !tooNew(err) {
		return FabricInfo{
			State: FabricState(v2.state), Status: Return(v2.status), Mask: FabricMask(v2.mask),
		}, err
	}
	var v1 fabricV1
	err = d.lib.call(deviceFabric, d.handle, uintptr(unsafe.Pointer(&v1)))
	return FabricInfo{State: FabricState(v1.state), Status: Return(v1.status)}, err
}
