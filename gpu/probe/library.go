//go:build linux && !nonvml

package probe

import (
	"time"

	"github.com/gpulaunch/gpulaunch/gpu/nvml"
)

// library is an opened NVML. There are two: this module's own binding and, with the build tag gonvml, NVIDIA's. Errors
// are of package nvml with both, and a function that the library lacks is [nvml.ErrFunctionNotFound].
type library interface {
	// Path is the file that it was loaded from.
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

// handle is a GPU or a MIG instance. The same one compares equal. Its methods are explained at [nvml.Device].
type handle interface {
	Name() (string, error)
	UUID() (string, error)
	// PCIBusID is the address, however it is written.
	PCIBusID() (string, error)
	MinorNumber() (int, error)
	Memory() (nvml.MemoryInfo, error)
	Utilization() (gpu, memory uint32, err error)
	Temperature() (celsius int, err error)
	PowerUsage() (milliwatts uint32, err error)
	PowerLimit() (milliwatts uint32, err error)
	Clock(nvml.ClockType) (megahertz uint32, err error)
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
	RemappedRows() (nvml.RemappedRows, error)
	RetiredPagesPending() (bool, error)
	Fabric() (nvml.FabricInfo, error)
	RecoveryAction() (nvml.RecoveryAction, error)
	SupportedEvents() (nvml.EventTypes, error)
}

// eventSet receives events, as [nvml.EventSet] does.
type eventSet interface {
	Register(handle, nvml.EventTypes) error
	Wait(limit time.Duration) (event, error)
	Free() error
}

// event is an [nvml.Event] with the GPU of whichever library it is.
type event struct {
	nvml.Event
	gpu handle
}
