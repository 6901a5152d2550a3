//go:build linux && !nonvml

package nvml

import "unsafe"

// Which errors are counted (nvmlMemoryErrorType_t), over what time (nvmlEccCounterType_t), and where
// (nvmlMemoryLocation_t).
const (
	uncorrectedErrors = 1
	volatileCounter   = 0
	locationSRAM      = 7
)

// featureEnabled is NVML_FEATURE_ENABLED.
const featureEnabled = 1

// ECCMode says whether memory errors are corrected, and whether they will be after the next reboot
// (nvmlDeviceGetEccMode). A card without ECC gives [ErrNotSupported].
func (d Device) ECCMode() (current, pending bool, err error) {
	var now, next uint32
	err = d.lib.call(deviceECCMode, d.handle, uintptr(unsafe.Pointer(&now)), uintptr(unsafe.Pointer(&next)))
	return now == featureEnabled, next == featureEnabled, err
}

// UncorrectedECCErrors is the number of memory errors that could not be corrected since the driver was loaded or the
// GPU reset (nvmlDeviceGetTotalEccErrors). With MIG enabled a GPU answers [ErrNotSupported], and its instances have to
// be asked for their [Device.UncorrectedSRAMErrors].
func (d Device) UncorrectedECCErrors() (uint64, error) {
	var n uint64
	err := d.lib.call(deviceECCTotal, d.handle, uncorrectedErrors, volatileCounter, uintptr(unsafe.Pointer(&n)))
	return n, err
}

// UncorrectedSRAMErrors is the same for the SRAM alone, which MIG instances know as well
// (nvmlDeviceGetMemoryErrorCounter).
func (d Device) UncorrectedSRAMErrors() (uint64, error) {
	var n uint64
	err := d.lib.call(deviceECCCounter, d.handle, uncorrectedErrors, volatileCounter, locationSRAM, uintptr(unsafe.Pointer(&n)))
	return n, err
}
