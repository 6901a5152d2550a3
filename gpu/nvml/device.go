//go:build linux && !nonvml

package nvml

import "unsafe"

// Device is a GPU or a MIG instance. It stays valid until the library is shut down; a handle whose GPU goes away
// answers [ErrGPUIsLost].
type Device struct {
	lib    *Library
	handle uintptr
}

// deviceTextSize is NVML_DEVICE_NAME_V2_BUFFER_SIZE and NVML_DEVICE_UUID_V2_BUFFER_SIZE.
const deviceTextSize = 96

// Name is the product name, such as "NVIDIA H100 80GB HBM3" (nvmlDeviceGetName).
func (d Device) Name() (string, error) { return d.text(deviceName) }

// UUID is the GPU's ("GPU-...") or MIG instance's ("MIG-...") identity (nvmlDeviceGetUUID).
func (d Device) UUID() (string, error) { return d.text(deviceUUID) }

// MinorNumber is n in /dev/nvidia<n> (nvmlDeviceGetMinorNumber).
func (d Device) MinorNumber() (int, error) {
	n, err := d.number(deviceMinor)
	return int(n), err
}

// Index is the GPU's NVML index (nvmlDeviceGetIndex).
func (d Device) Index() (int, error) {
	n, err := d.number(deviceIndex)
	return int(n), err
}

// Utilization is the share of the last sample period, in percent, in which a kernel ran and in which device memory was
// read or written (nvmlDeviceGetUtilizationRates). With MIG enabled it is [ErrNotSupported].
func (d Device) Utilization() (gpu, memory uint32, err error) {
	var u utilization
	err = d.lib.call(deviceUtilization, d.handle, uintptr(unsafe.Pointer(&u)))
	return u.gpu, u.memory, err
}

// temperatureGPU is NVML_TEMPERATURE_GPU, the sensor on the die.
const temperatureGPU = 0

// Temperature is the die's, in degrees Celsius (nvmlDeviceGetTemperatureV, nvmlDeviceGetTemperature).
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

// PowerUsage is the present draw of the whole board in milliwatts (nvmlDeviceGetPowerUsage).
func (d Device) PowerUsage() (milliwatts uint32, err error) { return d.number(devicePowerUsage) }

// PowerLimit is the limit in force, in milliwatts: the lowest of all that apply (nvmlDeviceGetEnforcedPowerLimit).
func (d Device) PowerLimit() (milliwatts uint32, err error) { return d.number(devicePowerLimit) }

// ClockType names a clock domain (nvmlClockType_t).
type ClockType uint32

// The clock domains that are read.
const (
	ClockGraphics ClockType = 0
	ClockSM       ClockType = 1
	ClockMemory   ClockType = 2
)

// Clock is a domain's present frequency in MHz (nvmlDeviceGetClockInfo).
func (d Device) Clock(domain ClockType) (megahertz uint32, err error) {
	err = d.lib.call(deviceClock, d.handle, uintptr(domain), uintptr(unsafe.Pointer(&megahertz)))
	return megahertz, err
}

// text asks for a string.
func (d Device) text(s symbol) (string, error) {
	var buf [deviceTextSize]byte
	if err := d.lib.call(s, d.handle, uintptr(unsafe.Pointer(&buf[0])), deviceTextSize); err != nil {
		return "", err
	}
	return text(buf[:]), nil
}

// number asks for an unsigned int.
func (d Device) number(s symbol) (uint32, error) {
	var n uint32
	err := d.lib.call(s, d.handle, uintptr(unsafe.Pointer(&n)))
	return n, err
}
