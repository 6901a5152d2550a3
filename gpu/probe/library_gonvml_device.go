//go:build linux && !nonvml && gonvml

package probe

import (
	gonvml "github.com/NVIDIA/go-nvml/pkg/nvml"

	"github.com/gpulaunch/gpulaunch/gpu/nvml"
)

// goDevice is a GPU or a MIG instance as go-nvml has it.
type goDevice struct {
	lib *goLibrary
	d   gonvml.Device
}

// text asks for a string, and enabled for a setting.
func (h goDevice) text(function string, call func() (string, gonvml.Return)) (string, error) {
	s, err := goAsk(h.lib, function, call)
	return printableASCII(s), err
}

func (h goDevice) enabled(
	function string, call func() (gonvml.EnableState, gonvml.Return),
) (bool, error) {
	state, err := goAsk(h.lib, function, call)
	return state == gonvml.FEATURE_ENABLED, err
}

func (h goDevice) Name() (string, error) { return h.text("nvmlDeviceGetName", h.d.GetName) }

func (h goDevice) UUID() (string, error) { return h.text("nvmlDeviceGetUUID", h.d.GetUUID) }

func (h goDevice) PCIBusID() (string, error) {
	const function = "nvmlDeviceGetPciInfo"
	pci, err := goAsk(h.lib, function+"_v3", h.d.GetPciInfo, function+"_v2", function)
	if err != nil {
		return "", err
	}
	for _, text := range [][]int8{pci.BusId[:], pci.BusIdLegacy[:]} {
		var id []byte
		for _, c := range text {
			if c == 0 {
				break
			}
			id = append(id, byte(c))
		}
		if len(id) > 0 {
			return printableASCII(string(id)), nil
		}
	}
	return "", nvml.ErrUnknown
}

func (h goDevice) MinorNumber() (int, error) {
	return goAsk(h.lib, "nvmlDeviceGetMinorNumber", h.d.GetMinorNumber)
}

func (h goDevice) Memory() (nvml.MemoryInfo, error) {
	v2, err := goAsk(h.lib, "nvmlDeviceGetMemoryInfo_v2", h.d.GetMemoryInfo_v2)
	if !tooOld(err) {
		return nvml.MemoryInfo{
			Total: v2.Total, Free: v2.Free, Used: v2.Used, Reserved: v2.Reserved,
		}, err
	}
	v1, err := goAsk(h.lib, "nvmlDeviceGetMemoryInfo", h.d.GetMemoryInfo)
	return nvml.MemoryInfo{Total: v1.Total, Free: v1.Free, Used: v1.Used}, err
}

func (h goDevice) Utilization() (gpu, memory uint32, err error) {
	u, err := goAsk(h.lib, "nvmlDeviceGetUtilizationRates", h.d.GetUtilizationRates)
	return u.Gpu, u.Memory, err
}

func (h goDevice) Temperature() (celsius int, err error) {
	v, err := goAsk(h.lib, "nvmlDeviceGetTemperatureV", h.d.GetTemperatureV().V1)
	if !tooOld(err) {
		return int(v.Temperature), err
	}
	t, err := goAsk(h.lib, "nvmlDeviceGetTemperature", func() (uint32, gonvml.Return) {
		return h.d.GetTemperature(gonvml.TEMPERATURE_GPU)
	})
	return int(t), err
}

func (h goDevice) PowerUsage() (milliwatts uint32, err error) {
	return goAsk(h.lib, "nvmlDeviceGetPowerUsage", h.d.GetPowerUsage)
}

func (h goDevice) PowerLimit() (milliwatts uint32, err error) {
	return goAsk(h.lib, "nvmlDeviceGetEnforcedPowerLimit", h.d.GetEnforcedPowerLimit)
}

func (h goDevice) Clock(domain nvml.ClockType) (megahertz uint32, err error) {
	return goAsk(h.lib, "nvmlDeviceGetClockInfo", func() (uint32, gonvml.Return) {
		return h.d.GetClockInfo(gonvml.ClockType(domain))
	})
}

func (h goDevice) MaxClock(domain nvml.ClockType) (megahertz uint32, err error) {
	return goAsk(h.lib, "nvmlDeviceGetMaxClockInfo", func() (uint32, gonvml.Return) {
		return h.d.GetMaxClockInfo(gonvml.ClockType(domain))
	})
}

func (h goDevice) Cores() (uint32, error) {
	n, err := goAsk(h.lib, "nvmlDeviceGetNumGpuCores", h.d.GetNumGpuCores)
	return uint32(n), err
}

func (h goDevice) ClockReasons() (nvml.ClockReasons, error) {
	const prefix = "nvmlDeviceGetCurrentClocks"
	reasons, err := goAsk(h.lib, prefix+"EventReasons", h.d.GetCurrentClocksEventReasons)
	if tooOld(err) {
		reasons, err = goAsk(h.lib, prefix+"ThrottleReasons", h.d.GetCurrentClocksThrottleReasons)
	}
	return nvml.ClockReasons(reasons), err
}

func (h goDevice) ComputeMode() (nvml.ComputeMode, error) {
	mode, err := goAsk(h.lib, "nvmlDeviceGetComputeMode", h.d.GetComputeMode)
	return nvml.ComputeMode(mode), err
}

// ComputeProcesses asks with the newest version of the function that the library has; go-nvml
// chooses it. go-nvml expects that version to write records of the documented size, so this does
// not work with the drivers of the 535 series that write longer ones.
func (h goDevice) ComputeProcesses() ([]nvml.Process, error) {
	const function = "nvmlDeviceGetComputeRunningProcesses"
	read := h.d.GetComputeRunningProcesses
	list, err := goAsk(h.lib, function+"_v3", read, function+"_v2", function)
	if err != nil {
		return nil, err
	}
	var processes []nvml.Process
	for _, p := range list {
		ours := nvml.Process{
			PID: p.Pid, GPUInstance: p.GpuInstanceId, ComputeInstance: p.ComputeInstanceId,
		}
		if p.UsedGpuMemory != 1<<64-1 { // NVML_VALUE_NOT_AVAILABLE
			ours.UsedBytes, ours.UsedKnown = p.UsedGpuMemory, true
		}
		processes = append(processes, ours)
	}
	return processes, nil
}

// maxCPUs is the largest number of CPUs that Linux can be built for.
const maxCPUs = 8192

func (h goDevice) CPUAffinityWithinNUMA() ([]uint64, error) {
	withinScope := func() ([]uint, gonvml.Return) {
		return h.d.GetCpuAffinityWithinScope(maxCPUs, gonvml.AFFINITY_SCOPE_NODE)
	}
	plain := func() ([]uint, gonvml.Return) { return h.d.GetCpuAffinity(maxCPUs) }
	words, err := goAsk(h.lib, "nvmlDeviceGetCpuAffinityWithinScope", withinScope)
	if tooOld(err) {
		words, err = goAsk(h.lib, "nvmlDeviceGetCpuAffinity", plain)
	}
	var mask []uint64
	for _, word := range words {
		mask = append(mask, uint64(word))
	}
	return mask, err
}

func (h goDevice) MIGMode() (current, pending bool, err error) {
	var next int
	now, err := goAsk(h.lib, "nvmlDeviceGetMigMode", func() (now int, r gonvml.Return) {
		now, next, r = h.d.GetMigMode()
		return now, r
	})
	return now == gonvml.DEVICE_MIG_ENABLE, next == gonvml.DEVICE_MIG_ENABLE, err
}

func (h goDevice) MaxMIGDevices() (int, error) {
	return goAsk(h.lib, "nvmlDeviceGetMaxMigDeviceCount", h.d.GetMaxMigDeviceCount)
}

func (h goDevice) MIGDevice(place int) (handle, error) {
	read := func() (gonvml.Device, gonvml.Return) { return h.d.GetMigDeviceHandleByIndex(place) }
	d, err := goAsk(h.lib, "nvmlDeviceGetMigDeviceHandleByIndex", read)
	return goDevice{h.lib, d}, err
}

func (h goDevice) GPUInstanceID() (uint32, error) {
	id, err := goAsk(h.lib, "nvmlDeviceGetGpuInstanceId", h.d.GetGpuInstanceId)
	return uint32(id), err
}

func (h goDevice) ComputeInstanceID() (uint32, error) {
	id, err := goAsk(h.lib, "nvmlDeviceGetComputeInstanceId", h.d.GetComputeInstanceId)
	return uint32(id), err
}

func (h goDevice) Attributes() (nvml.Attributes, error) {
	a, err := goAsk(h.lib, "nvmlDeviceGetAttributes_v2", h.d.GetAttributes)
	return nvml.Attributes{
		Multiprocessors: a.MultiprocessorCount, GPUSlices: a.GpuInstanceSliceCount,
		ComputeSlices: a.ComputeInstanceSliceCount, MemoryMegabytes: a.MemorySizeMB,
	}, err
}

func (h goDevice) PersistenceMode() (bool, error) {
	return h.enabled("nvmlDeviceGetPersistenceMode", h.d.GetPersistenceMode)
}

func (h goDevice) ECCMode() (current, pending bool, err error) {
	var next gonvml.EnableState
	read := func() (now gonvml.EnableState, r gonvml.Return) {
		now, next, r = h.d.GetEccMode()
		return now, r
	}
	current, err = h.enabled("nvmlDeviceGetEccMode", read)
	return current, next == gonvml.FEATURE_ENABLED, err
}

func (h goDevice) UncorrectedECCErrors() (uint64, error) {
	return goAsk(h.lib, "nvmlDeviceGetTotalEccErrors", func() (uint64, gonvml.Return) {
		return h.d.GetTotalEccErrors(gonvml.MEMORY_ERROR_TYPE_UNCORRECTED, gonvml.VOLATILE_ECC)
	})
}

func (h goDevice) UncorrectedSRAMErrors() (uint64, error) {
	return goAsk(h.lib, "nvmlDeviceGetMemoryErrorCounter", func() (uint64, gonvml.Return) {
		return h.d.GetMemoryErrorCounter(gonvml.MEMORY_ERROR_TYPE_UNCORRECTED,
			gonvml.VOLATILE_ECC, gonvml.MEMORY_LOCATION_SRAM)
	})
}

func (h goDevice) SRAMThresholdExceeded() (bool, error) {
	status, err := goAsk(h.lib, "nvmlDeviceGetSramEccErrorStatus", h.d.GetSramEccErrorStatus)
	return status.BThresholdExceeded != 0, err
}

func (h goDevice) SpareRows() (nvml.SpareRows, error) {
	rows, err := goAsk(h.lib, "nvmlDeviceGetRowRemapperHistogram", h.d.GetRowRemapperHistogram)
	return nvml.SpareRows{
		All: rows.Max, High: rows.High, Partial: rows.Partial, Low: rows.Low, None: rows.None,
	}, err
}

func (h goDevice) RemappedRows() (nvml.RemappedRows, error) {
	return goAsk(h.lib, "nvmlDeviceGetRemappedRows", func() (nvml.RemappedRows, gonvml.Return) {
		corrected, uncorrected, pending, failed, r := h.d.GetRemappedRows()
		return nvml.RemappedRows{
			Corrected: uint32(corrected), Uncorrected: uint32(uncorrected),
			Pending: pending, Failed: failed,
		}, r
	})
}

func (h goDevice) RetiredPagesPending() (bool, error) {
	return h.enabled("nvmlDeviceGetRetiredPagesPendingStatus", h.d.GetRetiredPagesPendingStatus)
}

func (h goDevice) Fabric() (nvml.FabricInfo, error) {
	v3, err := goAsk(h.lib, "nvmlDeviceGetGpuFabricInfoV", h.d.GetGpuFabricInfoV().V3)
	if !tooOld(err) {
		return nvml.FabricInfo{
			State: nvml.FabricState(v3.State), Status: nvml.Return(v3.Status),
			Health: nvml.FabricHealth(v3.HealthSummary), Mask: nvml.FabricMask(v3.HealthMask),
		}, err
	}
	v2, err := goAsk(h.lib, "nvmlDeviceGetGpuFabricInfoV", h.d.GetGpuFabricInfoV().V2)
	if !tooOld(err) {
		return nvml.FabricInfo{
			State: nvml.FabricState(v2.State), Status: nvml.Return(v2.Status),
			Mask: nvml.FabricMask(v2.HealthMask),
		}, err
	}
	v1, err := goAsk(h.lib, "nvmlDeviceGetGpuFabricInfo", h.d.GetGpuFabricInfo)
	return nvml.FabricInfo{
		State: nvml.FabricState(v1.State), Status: nvml.Return(v1.Status),
	}, err
}

func (h goDevice) RecoveryAction() (nvml.RecoveryAction, error) {
	values := []gonvml.FieldValue{{FieldId: gonvml.FI_DEV_GET_GPU_RECOVERY_ACTION}}
	_, err := goAsk(h.lib, "nvmlDeviceGetFieldValues", func() (any, gonvml.Return) {
		return nil, h.d.GetFieldValues(values)
	})
	if err != nil {
		return 0, err
	}
	action, err := fieldUint32(values[0])
	return nvml.RecoveryAction(action), err
}

func (h goDevice) SupportedEvents() (nvml.EventTypes, error) {
	types, err := goAsk(h.lib, "nvmlDeviceGetSupportedEventTypes", h.d.GetSupportedEventTypes)
	return nvml.EventTypes(types), err
}
