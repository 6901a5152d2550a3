//go:build linux && !nonvml

package nvml

import "unsafe"

// Device is a GPU or a MIG instance. It is valid until the library is shut down. If its GPU is
// lost, its methods return [ErrGPUIsLost].
type Device struct {
	lib    *Library
	handle uintptr
}

// deviceTextSize is NVML_DEVICE_NAME_V2_BUFFER_SIZE and NVML_DEVICE_UUID_V2_BUFFER_SIZE.
const deviceTextSize = 96

// Name returns the product name, such as "NVIDIA H100 80GB HBM3" (nvmlDeviceGetName).
func (d Device) Name() (string, error) { return d.text(deviceName) }

// UUID returns the UUID of the GPU ("GPU-...") or MIG instance ("MIG-...") (nvmlDeviceGetUUID).
func (d Device) UUID() (string, error) { return d.text(deviceUUID) }

// MinorNumber returns the number in /dev/nvidia<number> (nvmlDeviceGetMinorNumber).
func (d Device) MinorNumber() (int, error) {
	n, err := d.number(deviceMinor)
	return int(n), err
}

// Utilization returns, in percent, the share of the last sample period in which a kernel ran, and
// the share in which device memory was read or written (nvmlDeviceGetUtilizationRates). In MIG mode
// the error is [ErrNotSupported].
func (d Device) Utilization() (gpu, memory uint32, err error) {
	var u utilization
	err = d.lib.call(deviceUtilization, d.handle, uintptr(unsafe.Pointer(&u)))
	return u.gpu, u.memory, err
}

// temperatureGPU is NVML_TEMPERATURE_GPU, the sensor on the die.
const temperatureGPU = 0

// Temperature returns the temperature of the die in degrees Celsius (nvmlDeviceGetTemperatureV,
// nvmlDeviceGetTemperature).
func (d Device) Temperature() (celsius int, err error) {
	t := temperature{version: temperatureVersion, sensor: temperatureGPU}
	err = d.lib.call(deviceTemperatureV, d.handle, uintptr(unsafe.Pointer(&t)))
	if !tooNew(err) {
		return int(t.celsius), err
	}
	var degrees uint32
	err = d.lib.call(deviceTemperature, d.handle, temperatureGPU, uintptr(unsafe.Pointer(&degrees)))
	return int(degrees), err
}

// PowerUsage returns the power that the whole board uses, in milliwatts (nvmlDeviceGetPowerUsage).
func (d Device) PowerUsage() (milliwatts uint32, err error) { return d.number(devicePowerUsage) }

// PowerLimit returns the limit that is in force, in milliwatts. It is the lowest of all limits
// (nvmlDeviceGetEnforcedPowerLimit).
func (d Device) PowerLimit() (milliwatts uint32, err error) { return d.number(devicePowerLimit) }

// ClockType is a clock domain (nvmlClockType_t).
type ClockType uint32

// The clock domains.
const (
	ClockGraphics ClockType = 0
	ClockSM       ClockType = 1
	ClockMemory   ClockType = 2
)

// Clock returns the current frequency of a clock domain in MHz (nvmlDeviceGetClockInfo).
func (d Device) Clock(domain ClockType) (megahertz uint32, err error) {
	err = d.lib.call(deviceClock, d.handle, uintptr(domain), uintptr(unsafe.Pointer(&megahertz)))
	return megahertz, err
}

// MaxClock returns the highest frequency of a clock domain in MHz (nvmlDeviceGetMaxClockInfo).
func (d Device) MaxClock(domain ClockType) (megahertz uint32, err error) {
	err = d.lib.call(deviceMaxClock, d.handle, uintptr(domain),
		uintptr(unsafe.Pointer(&megahertz)))
	return megahertz, err
}

// Cores returns the number of CUDA cores (nvmlDeviceGetNumGpuCores).
func (d Device) Cores() (uint32, error) { return d.number(deviceCores) }

// text calls a function that returns a string.
func (d Device) text(s symbol) (string, error) {
	var buf [deviceTextSize]byte
	err := d.lib.call(s, d.handle, uintptr(unsafe.Pointer(&buf[0])), deviceTextSize)
	if err != nil {
		return "", err
	}
	return text(buf[:]), nil
}

// number calls a function that returns an unsigned int.
func (d Device) number(s symbol) (uint32, error) {
	var n uint32
	err := d.lib.call(s, d.handle, uintptr(unsafe.Pointer(&n)))
	return n, err
}
