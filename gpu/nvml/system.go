//go:build linux && !nonvml

package nvml

import "unsafe"

// versionSize is NVML_SYSTEM_DRIVER_VERSION_BUFFER_SIZE and NVML_SYSTEM_NVML_VERSION_BUFFER_SIZE.
const versionSize = 80

// DriverVersion returns the version of the kernel driver, such as "550.54.15"
// (nvmlSystemGetDriverVersion).
func (l *Library) DriverVersion() (string, error) { return l.version(driverVersion) }

// NVMLVersion returns the version of the library, such as "12.550.54.15"
// (nvmlSystemGetNVMLVersion).
func (l *Library) NVMLVersion() (string, error) { return l.version(nvmlVersion) }

func (l *Library) version(s symbol) (string, error) {
	var buf [versionSize]byte
	if err := l.call(s, uintptr(unsafe.Pointer(&buf[0])), versionSize); err != nil {
		return "", err
	}
	return text(buf[:]), nil
}

// CUDADriverVersion returns the newest CUDA version that the driver supports, as 1000*major +
// 10*minor: 12040 is CUDA 12.4 (nvmlSystemGetCudaDriverVersion_v2).
func (l *Library) CUDADriverVersion() (int, error) {
	var version int32
	err := l.callNewest([]symbol{cudaVersionV2, cudaVersionV1},
		uintptr(unsafe.Pointer(&version)))
	return int(version), err
}

// DeviceCount returns the number of GPUs, including broken ones and those that this user may not
// use. MIG instances are not counted (nvmlDeviceGetCount_v2).
func (l *Library) DeviceCount() (int, error) {
	var n uint32
	err := l.callNewest([]symbol{deviceCountV2, deviceCountV1}, uintptr(unsafe.Pointer(&n)))
	return int(n), err
}

// Device attaches to the GPU with an NVML index from 0 to DeviceCount-1 and returns it. NVML's
// order is that of the PCI addresses, which may differ from CUDA's (nvmlDeviceGetHandleByIndex_v2).
//
// Errors: [ErrInvalidArgument] for an index out of range, [ErrGPUIsLost], [ErrNoPermission] and
// others.
func (l *Library) Device(index int) (Device, error) {
	d := Device{lib: l}
	err := l.callNewest([]symbol{deviceByIndexV2, deviceByIndexV1},
		uintptr(uint32(index)), uintptr(unsafe.Pointer(&d.handle)))
	if err != nil {
		return Device{}, err
	}
	return d, nil
}
