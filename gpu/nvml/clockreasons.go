//go:build linux && !nonvml

package nvml

import "unsafe"

// ClockReasons is a set of reasons why the clocks are not as high as they could be
// (nvmlClocksEventReasons).
type ClockReasons uint64

// The reasons that have to do with health, and that the GPU is idle. Hardware lowers the clocks at
// once, to half or less: because the GPU is too hot, because the power supply asks for it (power
// brake), or because too much power is drawn. ReasonHardwareSlowdown stands for all of these;
// according to nvml.h it may also be set during a change of clocks.
const (
	ReasonIdle             ClockReasons = 0x1
	ReasonHardwareSlowdown ClockReasons = 0x8
	ReasonHardwareThermal  ClockReasons = 0x40
	ReasonPowerBrake       ClockReasons = 0x80
)

// ClockReasons returns why the clocks are not as high as they could be
// (nvmlDeviceGetCurrentClocksEventReasons, nvmlDeviceGetCurrentClocksThrottleReasons).
func (d Device) ClockReasons() (ClockReasons, error) {
	var reasons uint64
	err := d.lib.callNewest([]symbol{deviceClockReasonsV2, deviceClockReasonsV1},
		d.handle, uintptr(unsafe.Pointer(&reasons)))
	return ClockReasons(reasons), err
}
