//go:build linux && !nonvml

package nvml

import "unsafe"

// migEnabled is NVML_DEVICE_MIG_ENABLE.
const migEnabled = 1

// MIGMode says whether the GPU is cut into instances, and whether it will be after its next reset
// (nvmlDeviceGetMigMode). A GPU that cannot be cut gives [ErrNotSupported].
func (d Device) MIGMode() (current, pending bool, err error) {
	var now, next uint32
	err = d.lib.call(deviceMIGMode, d.handle, uintptr(unsafe.Pointer(&now)), uintptr(unsafe.Pointer(&next)))
	return now == migEnabled, next == migEnabled, err
}

// MaxMIGDevices is the number of places for MIG instances, taken or not: 0 where MIG is off or unknown
// (nvmlDeviceGetMaxMigDeviceCount).
func (d Device) MaxMIGDevices() (int, error) {
	n, err := d.number(deviceMaxMIG)
	return int(n), err
}

// MIGDevice is the MIG instance at place i, 0 to MaxMIGDevices-1; an empty place gives [ErrNotFound]
// (nvmlDeviceGetMigDeviceHandleByIndex).
func (d Device) MIGDevice(i int) (Device, error) {
	instance := Device{lib: d.lib}
	err := d.lib.call(deviceMIGByIndex, d.handle, uintptr(uint32(i)), uintptr(unsafe.Pointer(&instance.handle)))
	if err != nil {
		return Device{}, err
	}
	return instance, nil
}

// GPUInstanceID is a MIG instance's GPU instance (nvmlDeviceGetGpuInstanceId).
func (d Device) GPUInstanceID() (uint32, error) { return d.number(deviceGPUInstance) }

// ComputeInstanceID is a MIG instance's compute instance, unique within the GPU instance
// (nvmlDeviceGetComputeInstanceId).
func (d Device) ComputeInstanceID() (uint32, error) { return d.number(deviceComputeInstance) }

// Attributes is what a MIG instance's profile gives it.
type Attributes struct {
	Multiprocessors uint32
	// GPUSlices and ComputeSlices are the shares of the GPU: 3 and 2 in "2c.3g.40gb".
	GPUSlices     uint32
	ComputeSlices uint32
	// MemoryMegabytes is its memory in units of 2^20 bytes.
	MemoryMegabytes uint64
}

// Attributes tells of a MIG instance what it was cut out as (nvmlDeviceGetAttributes_v2).
func (d Device) Attributes() (Attributes, error) {
	var a attributes
	err := d.lib.call(deviceAttributes, d.handle, uintptr(unsafe.Pointer(&a)))
	return Attributes{a.multiprocessors, a.gpuSlices, a.computeSlices, a.memoryMegabytes}, err
}
