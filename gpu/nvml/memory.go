//go:build linux && !nonvml

package nvml

import "unsafe"

// MemoryInfo is an amount of device memory, in bytes.
type MemoryInfo struct {
	Total uint64
	Free  uint64
	Used  uint64
	// Reserved is what the driver and the firmware keep for themselves. Drivers that do not report
	// it count it as used; it is 0 then.
	Reserved uint64
}

// Memory returns the device memory of a GPU or a MIG instance (nvmlDeviceGetMemoryInfo_v2,
// nvmlDeviceGetMemoryInfo).
//
// Errors: [ErrNotSupported] if the GPU shares the system's memory, [ErrNoPermission] and others.
func (d Device) Memory() (MemoryInfo, error) {
	m := memoryV2{version: memoryV2Version}
	err := d.lib.call(deviceMemoryV2, d.handle, uintptr(unsafe.Pointer(&m)))
	if tooNew(err) {
		return d.memoryV1()
	}
	return MemoryInfo{Total: m.total, Free: m.free, Used: m.used, Reserved: m.reserved}, err
}

func (d Device) memoryV1() (MemoryInfo, error) {
	var m memoryV1
	err := d.lib.call(deviceMemoryV1, d.handle, uintptr(unsafe.Pointer(&m)))
	return MemoryInfo{Total: m.total, Free: m.free, Used: m.used}, err
}
