package gpu

import "time"

// Sample is what the GPUs report at one moment. Nil and empty values mean that the card or the
// driver does not report them.
type Sample struct {
	// Time is when reading began.
	Time time.Time `json:"time"`
	// Devices are in the order of the inventory. The MIG instances of a GPU follow it.
	Devices []DeviceSample `json:"devices"`
	// Error is one line that says why there are no devices.
	Error string `json:"error,omitempty"`
}

// DeviceSample holds the figures of one GPU or one MIG instance.
type DeviceSample struct {
	// Index is the GPU's index in the inventory. A MIG instance has the index of its GPU.
	Index int    `json:"index"`
	UUID  string `json:"uuid"`
	// ParentUUID is the UUID of the GPU that a MIG instance is a part of, and "" for a GPU.
	ParentUUID       string  `json:"parent_uuid,omitempty"`
	MemoryUsedBytes  *uint64 `json:"memory_used_bytes,omitempty"`
	MemoryTotalBytes *uint64 `json:"memory_total_bytes,omitempty"`
	// Utilization is the share of time in which the GPU worked, and MemoryUtilization the share
	// in which its memory was read or written. Both go from 0 to 1 and are about the driver's
	// last sampling period, which is between 1/6 of a second and a second.
	Utilization        *float64 `json:"utilization_ratio,omitempty"`
	MemoryUtilization  *float64 `json:"memory_utilization_ratio,omitempty"`
	TemperatureCelsius *float64 `json:"temperature_celsius,omitempty"`
	PowerWatts         *float64 `json:"power_watts,omitempty"`
	PowerLimitWatts    *float64 `json:"power_limit_watts,omitempty"`
	SMClockHertz       *float64 `json:"sm_clock_hertz,omitempty"`
	MemoryClockHertz   *float64 `json:"memory_clock_hertz,omitempty"`
	// Processes are those that compute on it, as far as this process may see them.
	Processes []ProcessSample `json:"processes,omitempty"`
	// Problem says why there are no figures of this device.
	Problem string `json:"problem,omitempty"`
}

// ProcessSample is the device memory that one process uses.
type ProcessSample struct {
	// PID is the number that the driver uses. Inside a container it may be the host's number.
	PID       int     `json:"pid"`
	UsedBytes *uint64 `json:"used_bytes,omitempty"`
}
