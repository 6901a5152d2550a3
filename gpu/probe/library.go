//go:build linux && !nonvml

package probe

import (
	"time"

	"github.com/gpulaunch/gpulaunch/gpu/nvml"
)

// library is an opened NVML. It is implemented with this module's own binding and, if built with
// the tag gonvml, with NVIDIA's. With both, errors are those of package nvml, and the error for a
// function that the library lacks is [nvml.ErrFunctionNotFound].
type library interface {
	// Path is the file that the library was loaded from.
	Path() string
	Init() error
	Shutdown() error
	DriverVersion() (string, error)
	NVMLVersion() (string, error)
	CUDADriverVersion() (int, error)
	DeviceCount() (int, error)
	Device(index int) (handle, error)
	ProcessName(pid uint32) (string, error)
	NewEventSet() (eventSet, error)
}

// handle is a GPU or a MIG instance. Two handles of the same device are equal. The methods are
// documented at [nvml.Device].
type handle interface {
	Name() (string, error)
	UUID() (string, error)
	// PCIBusID is the address in any spelling that parsePCI reads.
	PCIBusID() (string, error)
	MinorNumber() (int, error)
	Memory() (nvml.MemoryInfo, error)
	Utilization() (gpu, memory uint32, err error)
	Temperature() (celsius int, err error)
	PowerUsage() (milliwatts uint32, err error)
	PowerLimit() (milliwatts uint32, err error)
	Clock(nvml.ClockType) (megahertz uint32, err error)
	MaxClock(nvml.ClockType) (megahertz uint32, err error)
	Cores() (uint32, error)
	ClockReasons() (nvml.ClockReasons, error)
	ComputeMode() (nvml.ComputeMode, error)
	ComputeProcesses() ([]nvml.Process, error)
	CPUAffinityWithinNUMA() ([]uint64, error)

	MIGMode() (current, pending bool, err error)
	MaxMIGDevices() (int, error)
	MIGDevice(place int) (handle, error)
	GPUInstanceID() (uint32, error)
	ComputeInstanceID() (uint32, error)
	Attributes() (nvml.Attributes, error)

	PersistenceMode() (bool, error)
	ECCMode() (current, pending bool, err error)
	UncorrectedECCErrors() (uint64, error)
	UncorrectedSRAMErrors() (uint64, error)
	SRAMThresholdExceeded() (bool, error)
	RemappedRows() (nvml.RemappedRows, error)
	SpareRows() (nvml.SpareRows, error)
	RetiredPagesPending() (bool, error)
	Fabric() (nvml.FabricInfo, error)
	RecoveryAction() (nvml.RecoveryAction, error)
	SupportedEvents() (nvml.EventTypes, error)
}

// eventSet receives events, like [nvml.EventSet].
type eventSet interface {
	Register(handle, nvml.EventTypes) error
	Wait(limit time.Duration) (event, error)
	Free() error
}

// event is an [nvml.Event] with the GPU as a handle.
type event struct {
	nvml.Event
	gpu handle
}
