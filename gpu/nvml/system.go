//go:build linux && !nonvml

package nvml

import "unsafe"

// versionSize is NVML_SYSTEM_DRIVER_VERSION_BUFFER_SIZE and NVML_SYSTEM_NVML_VERSION_BUFFER_SIZE.
const versionSize = 80

// DriverVersion is the kernel driver's version, such as "550.54.15" (nvmlSystemGetDriverVersion).
func (l *Library) DriverVersion() (string, error) { return l.version(driverVersion) }

// NVMLVersion is the library's own version, such as "12.550.54.15" (nvmlSystemGetNVMLVersion).
func (l *Library) NVMLVersion() (string, error) { return l.version(nvmlVersion) }

func (l *Library) version(s symbol) (string, error) {
	var buf [versionSize]byte
	if err := l.call(s, uintptr(unsafe.Pointer(&buf[0])), versionSize); err != nil {
		return "", err
	}
	return text(buf[:]), nil
}

// CUDADriverVersion is the newest CUDA that the driver serves, as 1000*major + 10*minor: 12040 is CUDA 12.4
// (nvmlSystemGetCudaDriverVersion_v2).
func (l *Library) CUDADriverVersion() (int, error) {
	var version int32
	err := l.callNewest([]symbol{cudaVersionV2, cudaVersionV1}, uintptr(unsafe.Pointer(&version)))
	return int(version), err
}

// DeviceCount is the number of GPUs, broken ones and those without permission included. MIG instances do not count
// (nvmlDeviceGetCount_v2).
func (l *Library) DeviceCount() (int, error) {
	var n uint32
	err := l.callNewest([]symbol{deviceCountV2, deviceCountV1}, uintptr(unsafe.Pointer(&n)))
	return int(n), err
}

// Device gives the GPU with an NVML index, 0 to DeviceCount-1, and attaches to it. NVML's order is that of the PCI
// addresses and need not be CUDA's (nvmlDeviceGetHandleByIndex_v2).
//
// Errors: [ErrInvalidArgument] for an index out of range, [ErrGPUIsLost], [ErrNoPermission] and others.
func (l *Library) Device(index int) (Device, error) {
	d := Device{lib: l}
	err := l.callNewest([]symbol{deviceByIndexV2, deviceByIndexV1}, uintptr(uint32(index)), uintptr(unsafe.Pointer(&d.handle)))
	if err != nil {
		return Device{}, err
	}
	return d, nil
}

// DeviceByUUID gives the GPU or MIG instance with a full UUID ("GPU-..." or "MIG-..."), and attaches to it
// (nvmlDeviceGetHandleByUUID). An unknown UUID is [ErrNotFound].
func (l *Library) DeviceByUUID(uuid string) (Device, error) {
	d := Device{lib: l}
	name := append([]byte(uuid), 0)
	err := l.call(deviceByUUID, uintptr(unsafe.Pointer(&name[0])), uintptr(unsafe.Pointer(&d.handle)))
	if err != nil {
		return Device{}, err
	}
	return d, nil
}
