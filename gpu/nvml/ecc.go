//go:build linux && !nonvml

package nvml

import "unsafe"

// The kind of errors (nvmlMemoryErrorType_t), the time over which they are counted
// (nvmlEccCounterType_t) and their place (nvmlMemoryLocation_t).
const (
	uncorrectedErrors = 1
	volatileCounter   = 0
	locationSRAM      = 7
)

// featureEnabled is NVML_FEATURE_ENABLED.
const featureEnabled = 1

// ECCMode reports whether memory errors are corrected, and whether they will be after the next
// reboot (nvmlDeviceGetEccMode). A card without ECC returns [ErrNotSupported].
func (d Device) ECCMode() (current, pending bool, err error) {
	var now, next uint32
	err = d.lib.call(deviceECCMode, d.handle,
		uintptr(unsafe.Pointer(&now)), uintptr(unsafe.Pointer(&next)))
	return now == featureEnabled, next == featureEnabled, err
}

// UncorrectedECCErrors returns the number of memory errors that could not be corrected since the
// driver was loaded or the GPU was reset (nvmlDeviceGetTotalEccErrors). In MIG mode the error is
// [ErrNotSupported]; ask the instances for their [Device.UncorrectedSRAMErrors] then.
func (d Device) UncorrectedECCErrors() (uint64, error) {
	var n uint64
	err := d.lib.call(deviceECCTotal, d.handle, uncorrectedErrors, volatileCounter,
		uintptr(unsafe.Pointer(&n)))
	return n, err
}

// SRAMThresholdExceeded reports whether the SRAM has had more uncorrectable errors in the card's
// life than NVIDIA's field diagnostics tolerates (nvmlDeviceGetSramEccErrorStatus, bThresholdExceeded).
// Cards have the answer since Ampere, and drivers may give it only to root: for others the error is
// [ErrNoPermission].
func (d Device) SRAMThresholdExceeded() (bool, error) {
	status := sramStatus{version: sramStatusVersion}
	err := d.lib.call(deviceSRAMStatus, d.handle, uintptr(unsafe.Pointer(&status)))
	return status.thresholdExceeded != 0, err
}

// UncorrectedSRAMErrors returns the same number for the SRAM alone. MIG instances have it as well
// (nvmlDeviceGetMemoryErrorCounter).
func (d Device) UncorrectedSRAMErrors() (uint64, error) {
	var n uint64
	err := d.lib.call(deviceECCCounter, d.handle, uncorrectedErrors, volatileCounter, locationSRAM,
		uintptr(unsafe.Pointer(&n)))
	return n, err
}
