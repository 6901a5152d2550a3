//go:build linux && !nonvml

package nvml

import "github.com/ebitengine/purego"

// symbol stands for one C function. Versions of a function are different symbols; a name without a
// suffix is version 1.
type symbol uint8

const (
	initWithFlags symbol = iota
	initV2
	initV1
	shutdown
	driverVersion
	nvmlVersion
	cudaVersionV2
	cudaVersionV1
	deviceCountV2
	deviceCountV1
	deviceByIndexV2
	deviceByIndexV1
	deviceName
	deviceUUID
	deviceMinor
	devicePCIV3
	devicePCIV2
	devicePCIV1
	deviceMemoryV2
	deviceMemoryV1
	deviceUtilization
	deviceTemperatureV
	deviceTemperature
	devicePowerUsage
	devicePowerLimit
	deviceClock
	deviceMaxClock
	deviceCores
	deviceClockReasonsV2
	deviceClockReasonsV1
	deviceComputeMode
	deviceMIGMode
	deviceMaxMIG
	deviceMIGByIndex
	deviceGPUInstance
	deviceComputeInstance
	deviceProcessesV3
	deviceProcessesV2
	deviceProcessesV1
	deviceCPUsInScope
	deviceCPUs
	deviceECCMode
	deviceECCTotal
	deviceECCCounter
	deviceSRAMStatus
	deviceRemappedRows
	deviceSpareRows
	deviceRetiredPending
	deviceFabricV
	deviceFabric
	deviceFields
	devicePersistence
	deviceAttributes
	processName
	eventSetCreate
	eventSetFree
	eventSetWaitV2
	eventSetWaitV1
	deviceEventTypes
	deviceRegister
	symbolCount
)

var symbolNames = [symbolCount]string{
	initWithFlags:         "nvmlInitWithFlags",
	initV2:                "nvmlInit_v2",
	initV1:                "nvmlInit",
	shutdown:              "nvmlShutdown",
	driverVersion:         "nvmlSystemGetDriverVersion",
	nvmlVersion:           "nvmlSystemGetNVMLVersion",
	cudaVersionV2:         "nvmlSystemGetCudaDriverVersion_v2",
	cudaVersionV1:         "nvmlSystemGetCudaDriverVersion",
	deviceCountV2:         "nvmlDeviceGetCount_v2",
	deviceCountV1:         "nvmlDeviceGetCount",
	deviceByIndexV2:       "nvmlDeviceGetHandleByIndex_v2",
	deviceByIndexV1:       "nvmlDeviceGetHandleByIndex",
	deviceName:            "nvmlDeviceGetName",
	deviceUUID:            "nvmlDeviceGetUUID",
	deviceMinor:           "nvmlDeviceGetMinorNumber",
	devicePCIV3:           "nvmlDeviceGetPciInfo_v3",
	devicePCIV2:           "nvmlDeviceGetPciInfo_v2",
	devicePCIV1:           "nvmlDeviceGetPciInfo",
	deviceMemoryV2:        "nvmlDeviceGetMemoryInfo_v2",
	deviceMemoryV1:        "nvmlDeviceGetMemoryInfo",
	deviceUtilization:     "nvmlDeviceGetUtilizationRates",
	deviceTemperatureV:    "nvmlDeviceGetTemperatureV",
	deviceTemperature:     "nvmlDeviceGetTemperature",
	devicePowerUsage:      "nvmlDeviceGetPowerUsage",
	devicePowerLimit:      "nvmlDeviceGetEnforcedPowerLimit",
	deviceClock:           "nvmlDeviceGetClockInfo",
	deviceMaxClock:        "nvmlDeviceGetMaxClockInfo",
	deviceCores:           "nvmlDeviceGetNumGpuCores",
	deviceClockReasonsV2:  "nvmlDeviceGetCurrentClocksEventReasons",
	deviceClockReasonsV1:  "nvmlDeviceGetCurrentClocksThrottleReasons",
	deviceComputeMode:     "nvmlDeviceGetComputeMode",
	deviceMIGMode:         "nvmlDeviceGetMigMode",
	deviceMaxMIG:          "nvmlDeviceGetMaxMigDeviceCount",
	deviceMIGByIndex:      "nvmlDeviceGetMigDeviceHandleByIndex",
	deviceGPUInstance:     "nvmlDeviceGetGpuInstanceId",
	deviceComputeInstance: "nvmlDeviceGetComputeInstanceId",
	deviceProcessesV3:     "nvmlDeviceGetComputeRunningProcesses_v3",
	deviceProcessesV2:     "nvmlDeviceGetComputeRunningProcesses_v2",
	deviceProcessesV1:     "nvmlDeviceGetComputeRunningProcesses",
	deviceCPUsInScope:     "nvmlDeviceGetCpuAffinityWithinScope",
	deviceCPUs:            "nvmlDeviceGetCpuAffinity",
	deviceECCMode:         "nvmlDeviceGetEccMode",
	deviceECCTotal:        "nvmlDeviceGetTotalEccErrors",
	deviceECCCounter:      "nvmlDeviceGetMemoryErrorCounter",
	deviceSRAMStatus:      "nvmlDeviceGetSramEccErrorStatus",
	deviceRemappedRows:    "nvmlDeviceGetRemappedRows",
	deviceSpareRows:       "nvmlDeviceGetRowRemapperHistogram",
	deviceRetiredPending:  "nvmlDeviceGetRetiredPagesPendingStatus",
	deviceFabricV:         "nvmlDeviceGetGpuFabricInfoV",
	deviceFabric:          "nvmlDeviceGetGpuFabricInfo",
	deviceFields:          "nvmlDeviceGetFieldValues",
	devicePersistence:     "nvmlDeviceGetPersistenceMode",
	deviceAttributes:      "nvmlDeviceGetAttributes_v2",
	processName:           "nvmlSystemGetProcessName",
	eventSetCreate:        "nvmlEventSetCreate",
	eventSetFree:          "nvmlEventSetFree",
	eventSetWaitV2:        "nvmlEventSetWait_v2",
	eventSetWaitV1:        "nvmlEventSetWait",
	deviceEventTypes:      "nvmlDeviceGetSupportedEventTypes",
	deviceRegister:        "nvmlDeviceRegisterEvents",
}

// symbolMissing is the address of a function that the library lacks. An address of 0 means that it
// has not been looked up yet.
const symbolMissing = ^uintptr(0)

// address looks a function up when it is first used, because a launcher that finds no GPU needs
// only a few. Two goroutines may look up the same function; both find the same address.
func (l *Library) address(s symbol) (uintptr, error) {
	addr := l.addresses[s].Load()
	if addr == 0 {
		addr = l.lookUp(symbolNames[s])
		l.addresses[s].Store(addr)
	}
	if addr == symbolMissing {
		return 0, missingFunctionError(symbolNames[s])
	}
	return addr, nil
}

func (l *Library) lookUp(name string) uintptr {
	addr, err := purego.Dlsym(l.handle, name)
	if err != nil {
		return symbolMissing
	}
	return addr
}
