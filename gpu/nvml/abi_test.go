//go:build linux && !nonvml

package nvml

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"testing"
	"unsafe"

	"github.com/gpulaunch/gpulaunch/gpu/nvml/nvmltest"
)

// The binding's constants, layouts and function names are judged by go-nvml, which NVIDIA generates from nvml.h. Its
// source is read and type-checked, not compiled: that works without cgo, and for processors other than this one.

// constants maps ours to go-nvml's.
var constants = map[string]string{
	"Success": "SUCCESS", "ErrUninitialized": "ERROR_UNINITIALIZED", "ErrInvalidArgument": "ERROR_INVALID_ARGUMENT",
	"ErrNotSupported": "ERROR_NOT_SUPPORTED", "ErrNoPermission": "ERROR_NO_PERMISSION",
	"ErrAlreadyInitialized": "ERROR_ALREADY_INITIALIZED", "ErrNotFound": "ERROR_NOT_FOUND",
	"ErrInsufficientSize": "ERROR_INSUFFICIENT_SIZE", "ErrInsufficientPower": "ERROR_INSUFFICIENT_POWER",
	"ErrDriverNotLoaded": "ERROR_DRIVER_NOT_LOADED", "ErrTimeout": "ERROR_TIMEOUT", "ErrIRQIssue": "ERROR_IRQ_ISSUE",
	"ErrLibraryNotFound": "ERROR_LIBRARY_NOT_FOUND", "ErrFunctionNotFound": "ERROR_FUNCTION_NOT_FOUND",
	"ErrCorruptedInforom": "ERROR_CORRUPTED_INFOROM", "ErrGPUIsLost": "ERROR_GPU_IS_LOST",
	"ErrResetRequired": "ERROR_RESET_REQUIRED", "ErrOperatingSystem": "ERROR_OPERATING_SYSTEM",
	"ErrLibRMVersionMismatch": "ERROR_LIB_RM_VERSION_MISMATCH", "ErrInUse": "ERROR_IN_USE", "ErrMemory": "ERROR_MEMORY",
	"ErrNoData": "ERROR_NO_DATA", "ErrVGPUECCNotSupported": "ERROR_VGPU_ECC_NOT_SUPPORTED",
	"ErrInsufficientResources": "ERROR_INSUFFICIENT_RESOURCES", "ErrFreqNotSupported": "ERROR_FREQ_NOT_SUPPORTED",
	"ErrArgumentVersionMismatch": "ERROR_ARGUMENT_VERSION_MISMATCH", "ErrDeprecated": "ERROR_DEPRECATED",
	"ErrNotReady": "ERROR_NOT_READY", "ErrGPUNotFound": "ERROR_GPU_NOT_FOUND", "ErrInvalidState": "ERROR_INVALID_STATE",
	"ErrResetTypeNotSupported": "ERROR_RESET_TYPE_NOT_SUPPORTED", "ErrUnknown": "ERROR_UNKNOWN",

	"ComputeDefault": "COMPUTEMODE_DEFAULT", "ComputeExclusiveThread": "COMPUTEMODE_EXCLUSIVE_THREAD",
	"ComputeProhibited": "COMPUTEMODE_PROHIBITED", "ComputeExclusiveProcess": "COMPUTEMODE_EXCLUSIVE_PROCESS",
	"ClockGraphics": "CLOCK_GRAPHICS", "ClockSM": "CLOCK_SM", "ClockMemory": "CLOCK_MEM",
	"initNoAttach": "INIT_FLAG_NO_ATTACH", "temperatureGPU": "TEMPERATURE_GPU", "migEnabled": "DEVICE_MIG_ENABLE",
	"affinityScopeNode": "AFFINITY_SCOPE_NODE", "deviceTextSize": "DEVICE_NAME_V2_BUFFER_SIZE",
	"versionSize": "SYSTEM_NVML_VERSION_BUFFER_SIZE", "processNameSize": "SYSTEM_PROCESS_NAME_BUFFER_SIZE",

	"featureEnabled": "FEATURE_ENABLED", "uncorrectedErrors": "MEMORY_ERROR_TYPE_UNCORRECTED",
	"volatileCounter": "VOLATILE_ECC", "locationSRAM": "MEMORY_LOCATION_SRAM",
	"fieldRecoveryAction": "FI_DEV_GET_GPU_RECOVERY_ACTION",
	"valueUnsignedInt":    "VALUE_TYPE_UNSIGNED_INT", "valueSignedInt": "VALUE_TYPE_SIGNED_INT",
	"RecoveryNone": "GPU_RECOVERY_ACTION_NONE", "RecoveryGPUReset": "GPU_RECOVERY_ACTION_GPU_RESET",
	"RecoveryNodeReboot": "GPU_RECOVERY_ACTION_NODE_REBOOT", "RecoveryDrainP2P": "GPU_RECOVERY_ACTION_DRAIN_P2P",
	"RecoveryDrainAndReset": "GPU_RECOVERY_ACTION_DRAIN_AND_RESET",
	"RecoveryIMEXDomain":    "GPU_RECOVERY_ACTION_RECOVER_IMEX_DOMAIN",
	"RecoveryBusReset":      "GPU_RECOVERY_ACTION_BUS_RESET", "RecoverySystemReboot": "GPU_RECOVERY_ACTION_SYSTEM_REBOOT",
	"FabricNotSupported": "GPU_FABRIC_STATE_NOT_SUPPORTED", "FabricNotStarted": "GPU_FABRIC_STATE_NOT_STARTED",
	"FabricInProgress": "GPU_FABRIC_STATE_IN_PROGRESS", "FabricCompleted": "GPU_FABRIC_STATE_COMPLETED",
	"FabricHealthUnknown": "GPU_FABRIC_HEALTH_SUMMARY_NOT_SUPPORTED", "FabricHealthy": "GPU_FABRIC_HEALTH_SUMMARY_HEALTHY",
	"FabricUnhealthy":       "GPU_FABRIC_HEALTH_SUMMARY_UNHEALTHY",
	"FabricLimitedCapacity": "GPU_FABRIC_HEALTH_SUMMARY_LIMITED_CAPACITY",
	"EventDoubleBitECC":     "EventTypeDoubleBitEccError", "EventXID": "EventTypeXidCriticalError",
	"EventRetirement": "EventTypeDramRetirementEvent", "EventRetirementFailed": "EventTypeDramRetirementFailure",
	"EventNonFatalPoison": "EventTypeNonFatalPoisonError", "EventFatalPoison": "EventTypeFatalPoisonError",
	"EventGPUUnavailable": "EventTypeGpuUnavailableError", "EventRecoveryAction": "EventTypeGpuRecoveryAction",
}

// ownConstants come from elsewhere than nvml.h. Version numbers of structs are in TestStructVersions.
var ownConstants = []string{
	"NoInstance", "cpuWords", "dlinfoLinkMap", "fabricV2Version", "fabricV3Version", "firstProcessRoom", "largeRecord", "libraryName", "maxCPUWords",
	"maxProcessRoom", "maxProcessTries", "memoryUnknown", "memoryV2Version", "notThere", "smallRecord", "symbolCount",
	"temperatureVersion", "untouched", "usualRecord", "wordSize",
}

type structPair struct {
	theirs string
	fields map[string]string // every field of ours, and theirs
}

var process = map[string]string{
	"pid": "Pid", "used": "UsedGpuMemory", "gpuInstance": "GpuInstanceId", "computeInstance": "ComputeInstanceId",
}

// structs maps ours to go-nvml's.
var structs = map[string]structPair{
	"pciInfo": {"PciInfo", map[string]string{
		"legacyBusID": "BusIdLegacy", "domain": "Domain", "bus": "Bus", "device": "Device", "deviceID": "PciDeviceId",
		"subsystemID": "PciSubSystemId", "busID": "BusId",
	}},
	"memoryV1": {"Memory", map[string]string{"total": "Total", "free": "Free", "used": "Used"}},
	"memoryV2": {"Memory_v2", map[string]string{
		"version": "Version", "total": "Total", "reserved": "Reserved", "free": "Free", "used": "Used",
	}},
	"utilization": {"Utilization", map[string]string{"gpu": "Gpu", "memory": "Memory"}},
	"temperature": {"Temperature", map[string]string{"version": "Version", "sensor": "SensorType", "celsius": "Temperature"}},
	"attributes": {"DeviceAttributes", map[string]string{
		"multiprocessors": "MultiprocessorCount", "copyEngines": "SharedCopyEngineCount", "decoders": "SharedDecoderCount",
		"encoders": "SharedEncoderCount", "jpegs": "SharedJpegCount", "opticalFlows": "SharedOfaCount",
		"gpuSlices": "GpuInstanceSliceCount", "computeSlices": "ComputeInstanceSliceCount", "memoryMegabytes": "MemorySizeMB",
	}},
	"fabricV1": {"GpuFabricInfo", fabric()},
	"fabricV2": {"GpuFabricInfo_v2", fabric("version", "Version", "mask", "HealthMask")},
	"fabricV3": {"GpuFabricInfo_v3", fabric("version", "Version", "mask", "HealthMask", "summary", "HealthSummary")},
	"fieldValue": {"FieldValue", map[string]string{
		"field": "FieldId", "scope": "ScopeId", "timestamp": "Timestamp", "latency": "LatencyUsec", "kind": "ValueType",
		"outcome": "NvmlReturn", "value": "Value",
	}},
	"eventData": {"nvmlEventData", map[string]string{
		"device": "Device", "types": "EventType", "data": "EventData", "gpuInstance": "GpuInstanceId",
		"computeInstance": "ComputeInstanceId",
	}},
	"processV1":     {"ProcessInfo_v1", map[string]string{"pid": "Pid", "used": "UsedGpuMemory"}},
	"processV2":     {"ProcessInfo_v2", process},
	"processDetail": {"ProcessDetail_v1", map[string]string{"processV2": "Pid", "_": "UsedGpuCcProtectedMemory"}},
}

// fabric is the fields that all versions have, and more pairs of ours and theirs.
func fabric(more ...string) map[string]string {
	fields := map[string]string{"cluster": "ClusterUuid", "status": "Status", "clique": "CliqueId", "state": "State"}
	for pair := range slices.Chunk(more, 2) {
		fields[pair[0]] = pair[1]
	}
	return fields
}

func TestABI(t *testing.T) {
	theirDir := goNVML(t)
	for _, arch := range []string{"amd64", "arm64"} {
		t.Run(arch, func(t *testing.T) {
			ours, theirs := check(t, ".", arch), check(t, theirDir, arch)
			report(t, compareConstants(ours, theirs, constants))
			for name, pair := range structs {
				report(t, compareStructs(ours, theirs, name, pair))
			}
			// nvmlProcessInfo_t is what version 3 takes.
			report(t, compareStructs(ours, theirs, "processV2", structPair{"ProcessInfo", process}))
			report(t, unlisted(ours))
		})
	}
}

// A wrong constant, size, offset or name, and something that nobody compares, must all be noticed.
func TestABIComparerNoticesErrors(t *testing.T) {
	const theirs = "package p; const (A = 1; B = 2); type S struct { X uint32; Y uint64; Z [4]uint32 }"
	for name, ours := range map[string]string{
		"right":           "package p; const (a = 1; b = 2); type s struct { x uint32; y uint64; z [4]uint32 }",
		"constant":        "package p; const (a = 1; b = 3); type s struct { x uint32; y uint64; z [4]uint32 }",
		"constant's type": "package p; const (a = 1; b = `2`); type s struct { x uint32; y uint64; z [4]uint32 }",
		"size":            "package p; const (a = 1; b = 2); type s struct { x uint32; y uint64; z [5]uint32 }",
		"field's size":    "package p; const (a = 1; b = 2); type s struct { x uint16; y uint64; z [4]uint32 }",
		"order":           "package p; const (a = 1; b = 2); type s struct { y uint64; x uint32; z [4]uint32 }",
		"name":            "package p; const (a = 1; c = 2); type s struct { x uint32; y uint64; z [4]uint32 }",
		"unlisted field":  "package p; const (a = 1; b = 2); type s struct { x uint32; pad uint32; y uint64; z [4]uint32 }",
	} {
		us, them := checkText(t, ours), checkText(t, theirs)
		problems := compareConstants(us, them, map[string]string{"a": "A", "b": "B"})
		problems = append(problems, compareStructs(us, them, "s", structPair{"S", map[string]string{"x": "X", "y": "Y", "z": "Z"}})...)
		if (len(problems) == 0) != (name == "right") {
			t.Errorf("%s: problems %q", name, problems)
		}
	}
	if problems := unlisted(checkText(t, "package p; const surprise = 1; type unknown struct { x int }")); len(problems) != 2 {
		t.Errorf("unlisted: %q", problems)
	}
}

// What the type checker says of our structs is what the compiler makes of them.
func TestABICheckerAgreesWithCompiler(t *testing.T) {
	ours := check(t, ".", runtime.GOARCH)
	for name, size := range map[string]uintptr{
		"pciInfo": unsafe.Sizeof(pciInfo{}), "memoryV1": unsafe.Sizeof(memoryV1{}), "memoryV2": unsafe.Sizeof(memoryV2{}),
		"utilization": unsafe.Sizeof(utilization{}), "temperature": unsafe.Sizeof(temperature{}),
		"processV1": unsafe.Sizeof(processV1{}), "processV2": unsafe.Sizeof(processV2{}), "processDetail": unsafe.Sizeof(processDetail{}),
		"attributes": unsafe.Sizeof(attributes{}), "fabricV1": unsafe.Sizeof(fabricV1{}), "fabricV2": unsafe.Sizeof(fabricV2{}),
		"fabricV3": unsafe.Sizeof(fabricV3{}), "fieldValue": unsafe.Sizeof(fieldValue{}), "eventData": unsafe.Sizeof(eventData{}),
	} {
		if got, _, _ := ours.layout(name); got != int64(size) {
			t.Errorf("%s: %d bytes to the checker, %d to the compiler", name, got, size)
		}
	}
	for _, test := range []struct {
		name, field string
		want        uintptr
	}{
		{"memoryV2", "used", unsafe.Offsetof(memoryV2{}.used)},
		{"pciInfo", "busID", unsafe.Offsetof(pciInfo{}.busID)},
		{"processDetail", "processV2", unsafe.Offsetof(processDetail{}.processV2)},
	} {
		if got := ours.offset(test.name, test.field); got != int64(test.want) {
			t.Errorf("%s.%s: offset %d to the checker, %d to the compiler", test.name, test.field, got, test.want)
		}
	}
}

// NVML_STRUCT_VERSION: the struct's size below, its version in the top byte.
func TestStructVersions(t *testing.T) {
	if memoryV2Version != 0x02000028 || temperatureVersion != 0x0100000c {
		t.Errorf("%#x, %#x", memoryV2Version, temperatureVersion)
	}
	if fabricV2Version != 0x02000024 || fabricV3Version != 0x03000028 {
		t.Errorf("%#x, %#x", fabricV2Version, fabricV3Version)
	}
}

func TestABISymbols(t *testing.T) {
	known := cFunctions(t, goNVML(t))
	for _, name := range symbolNames {
		if !known[name] {
			t.Errorf("go-nvml knows no function %q", name)
		}
	}
	if known["nvmlDeviceGetNothing"] || len(known) < 300 {
		t.Errorf("the judge is not credible: it knows %d functions", len(known))
	}
}

// The fake library's functions have the signatures of NVIDIA's header: the C compiler would not accept others.
func TestFakeMatchesHeader(t *testing.T) {
	header := filepath.Join(goNVML(t), "nvml.h")
	nvmltest.Build(t) // skips if there is no compiler
	compiler := os.Getenv("CC")
	if compiler == "" {
		compiler = "cc"
	}
	files, err := filepath.Glob("nvmltest/testdata/*.c")
	if err != nil {
		t.Fatal(err)
	}
	args := append([]string{"-std=gnu11", "-fsyntax-only", "-Wall", "-Wextra", "-Werror", fmt.Sprintf("-DNVML_HEADER=%q", header)}, files...)
	if out, err := exec.Command(compiler, args...).CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

func report(t *testing.T, problems []string) {
	t.Helper()
	for _, p := range problems {
		t.Error(p)
	}
}
