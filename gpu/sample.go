package gpu

import "time"

// Sample is what the GPUs say of themselves at one moment. Nil and empty mean that the card or the driver does not say.
type Sample struct {
	// Time is when the round began.
	Time time.Time `json:"time"`
	// Devices are in the order of the inventory; each MIG instance follows its GPU.
	Devices []DeviceSample `json:"devices"`
	// Error is one line that says why there are no figures at all.
	Error string `json:"error,omitempty"`
}

// DeviceSample is the figures of one GPU or one MIG instance.
type DeviceSample struct {
	// Index is the GPU's in the inventory, and for a MIG instance that of the GPU it is a part of.
	Index int    `json:"index"`
	UUID  string `json:"uuid"`
	// ParentUUID is the GPU's UUID for a MIG instance, and "" for a GPU.
	ParentUUID       string  `json:"parent_uuid,omitempty"`
	MemoryUsedBytes  *uint64 `json:"memory_used_bytes,omitempty"`
	MemoryTotalBytes *uint64 `json:"memory_total_bytes,omitempty"`
	// Utilization is the share of time in which the GPU worked, MemoryUtilization that in which its memory was read or
	// written, each from 0 to 1 over the driver's last sampling period (a sixth of a second to a second).
	Utilization        *float64 `json:"utilization_ratio,omitempty"`
	MemoryUtilization  *float64 `json:"memory_utilization_ratio,omitempty"`
	TemperatureCelsius *float64 `json:"temperature_celsius,omitempty"`
	PowerWatts         *float64 `json:"power_watts,omitempty"`
	PowerLimitWatts    *float64 `json:"power_limit_watts,omitempty"`
	SMClockHertz       *float64 `json:"sm_clock_hertz,omitempty"`
	MemoryClockHertz   *float64 `json:"memory_clock_hertz,omitempty"`
	// Processes are those that compute on it, as far as this process may see them.
	Processes []ProcessSample `json:"processes,omitempty"`
	// Problem says why there are no figures of this one.
	Problem string `json:"problem,omitempty"`
}

// ProcessSample is one process's use of a GPU.
type ProcessSample struct {
	// PID is the driver's word for it: inside a container it may be that of the host.
	PID       int     `json:"pid"`
	UsedBytes *uint64 `json:"used_bytes,omitempty"`
}
