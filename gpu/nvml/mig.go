//go:build linux && !nonvml

package nvml

import "unsafe"

// migEnabled is NVML_DEVICE_MIG_ENABLE.
const migEnabled = 1

// MIGMode reports whether the GPU is in MIG mode, and whether it will be after its next reset
// (nvmlDeviceGetMigMode). A GPU without MIG returns [ErrNotSupported].
func (d Device) MIGMode() (current, pending bool, err error) {
	var now, next uint32
	err = d.lib.call(deviceMIGMode, d.handle,
		uintptr(unsafe.Pointer(&now)), uintptr(unsafe.Pointer(&next)))
	return now == migEnabled, next == migEnabled, err
}

// MaxMIGDevices returns the number of places for MIG instances, including empty ones. It is 0 if
// MIG is off or not supported (nvmlDeviceGetMaxMigDeviceCount).
func (d Device) MaxMIGDevices() (int, error) {
	n, err := d.number(deviceMaxMIG)
	return int(n), err
}

// MIGDevice returns the MIG instance at a place from 0 to MaxMIGDevices-1. For an empty place the
// error is [ErrNotFound] (nvmlDeviceGetMigDeviceHandleByIndex).
func (d Device) MIGDevice(place int) (Device, error) {
	instance := Device{lib: d.lib}
	err := d.lib.call(deviceMIGByIndex, d.handle,
		uintptr(uint32(place)), uintptr(unsafe.Pointer(&instance.handle)))
	if err != nil {
		return Device{}, err
	}
	return instance, nil
}

// GPUInstanceID returns the id of the GPU instance that a MIG instance belongs to
// (nvmlDeviceGetGpuInstanceId).
func (d Device) GPUInstanceID() (uint32, error) { return d.number(deviceGPUInstance) }

// ComputeInstanceID returns the id of a MIG instance's compute instance, which is unique within the
// GPU instance (nvmlDeviceGetComputeInstanceId).
func (d Device) ComputeInstanceID() (uint32, error) { return d.number(deviceComputeInstance) }

// Attributes is what a MIG instance has according to its profile.
type Attributes struct {
	Multiprocessors uint32
	// GPUSlices and ComputeSlices are its shares of the GPU: 3 and 2 for the profile "2c.3g.40gb".
	GPUSlices     uint32
	ComputeSlices uint32
	// MemoryMegabytes is its memory in units of 2^20 bytes.
	MemoryMegabytes uint64
}

// Attributes returns the attributes of a MIG instance (nvmlDeviceGetAttributes_v2).
func (d Device) Attributes() (Attributes, error) {
	var a attributes
	err := d.lib.call(deviceAttributes, d.handle, uintptr(unsafe.Pointer(&a)))
	return Attributes{a.multiprocessors, a.gpuSlices, a.computeSlices, a.memoryMegabytes}, err
}
