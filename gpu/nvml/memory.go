//go:build linux && !nonvml

package nvml

import "unsafe"

// MemoryInfo is device memory, in bytes.
type MemoryInfo struct {
	Total uint64
	Free  uint64
	Used  uint64
	// Reserved is what driver and firmware keep. Drivers that do not report it give 0, and count it as used.
	Reserved uint64
}

// Memory is the device memory of a GPU or a MIG instance (nvmlDeviceGetMemoryInfo_v2, nvmlDeviceGetMemoryInfo).
//
// Errors: [ErrNotSupported] where the GPU shares the system's memory, [ErrNoPermission] and others.
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
