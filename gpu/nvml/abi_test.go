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

// The tests here compare the binding's constants, layouts and function names with those of go-nvml,
// which NVIDIA generates from nvml.h. Its source is type-checked and not compiled, so this works
// without cgo, and for other processors than this one.

// constants maps the names of our constants to go-nvml's.
var constants = map[string]string{
	"Success":                    "SUCCESS",
	"ErrUninitialized":           "ERROR_UNINITIALIZED",
	"ErrInvalidArgument":         "ERROR_INVALID_ARGUMENT",
	"ErrNotSupported":            "ERROR_NOT_SUPPORTED",
	"ErrNoPermission":            "ERROR_NO_PERMISSION",
	"ErrAlreadyInitialized":      "ERROR_ALREADY_INITIALIZED",
	"ErrNotFound":                "ERROR_NOT_FOUND",
	"ErrInsufficientSize":        "ERROR_INSUFFICIENT_SIZE",
	"ErrInsufficientPower":       "ERROR_INSUFFICIENT_POWER",
	"ErrDriverNotLoaded":         "ERROR_DRIVER_NOT_LOADED",
	"ErrTimeout":                 "ERROR_TIMEOUT",
	"ErrIRQIssue":                "ERROR_IRQ_ISSUE",
	"ErrLibraryNotFound":         "ERROR_LIBRARY_NOT_FOUND",
	"ErrFunctionNotFound":        "ERROR_FUNCTION_NOT_FOUND",
	"ErrCorruptedInforom":        "ERROR_CORRUPTED_INFOROM",
	"ErrGPUIsLost":               "ERROR_GPU_IS_LOST",
	"ErrResetRequired":           "ERROR_RESET_REQUIRED",
	"ErrOperatingSystem":         "ERROR_OPERATING_SYSTEM",
	"ErrLibRMVersionMismatch":    "ERROR_LIB_RM_VERSION_MISMATCH",
	"ErrInUse":                   "ERROR_IN_USE",
	"ErrMemory":                  "ERROR_MEMORY",
	"ErrNoData":                  "ERROR_NO_DATA",
	"ErrVGPUECCNotSupported":     "ERROR_VGPU_ECC_NOT_SUPPORTED",
	"ErrInsufficientResources":   "ERROR_INSUFFICIENT_RESOURCES",
	"ErrFreqNotSupported":        "ERROR_FREQ_NOT_SUPPORTED",
	"ErrArgumentVersionMismatch": "ERROR_ARGUMENT_VERSION_MISMATCH",
	"ErrDeprecated":              "ERROR_DEPRECATED",
	"ErrNotReady":                "ERROR_NOT_READY",
	"ErrGPUNotFound":             "ERROR_GPU_NOT_FOUND",
	"ErrInvalidState":            "ERROR_INVALID_STATE",
	"ErrResetTypeNotSupported":   "ERROR_RESET_TYPE_NOT_SUPPORTED",
	"ErrUnknown":                 "ERROR_UNKNOWN",

	"ComputeDefault":          "COMPUTEMODE_DEFAULT",
	"ComputeExclusiveThread":  "COMPUTEMODE_EXCLUSIVE_THREAD",
	"ComputeProhibited":       "COMPUTEMODE_PROHIBITED",
	"ComputeExclusiveProcess": "COMPUTEMODE_EXCLUSIVE_PROCESS",
	"ClockGraphics":           "CLOCK_GRAPHICS",
	"ClockSM":                 "CLOCK_SM",
	"ClockMemory":             "CLOCK_MEM",
	"initNoAttach":            "INIT_FLAG_NO_ATTACH",
	"temperatureGPU":          "TEMPERATURE_GPU",
	"migEnabled":              "DEVICE_MIG_ENABLE",
	"affinityScopeNode":       "AFFINITY_SCOPE_NODE",
	"deviceTextSize":          "DEVICE_NAME_V2_BUFFER_SIZE",
	"versionSize":             "SYSTEM_NVML_VERSION_BUFFER_SIZE",
	"processNameSize":         "SYSTEM_PROCESS_NAME_BUFFER_SIZE",

	"featureEnabled":         "FEATURE_ENABLED",
	"uncorrectedErrors":      "MEMORY_ERROR_TYPE_UNCORRECTED",
	"volatileCounter":        "VOLATILE_ECC",
	"locationSRAM":           "MEMORY_LOCATION_SRAM",
	"fieldRecoveryAction":    "FI_DEV_GET_GPU_RECOVERY_ACTION",
	"valueUnsignedInt":       "VALUE_TYPE_UNSIGNED_INT",
	"valueSignedInt":         "VALUE_TYPE_SIGNED_INT",
	"RecoveryNone":           "GPU_RECOVERY_ACTION_NONE",
	"RecoveryGPUReset":       "GPU_RECOVERY_ACTION_GPU_RESET",
	"RecoveryNodeReboot":     "GPU_RECOVERY_ACTION_NODE_REBOOT",
	"RecoveryDrainP2P":       "GPU_RECOVERY_ACTION_DRAIN_P2P",
	"RecoveryDrainAndReset":  "GPU_RECOVERY_ACTION_DRAIN_AND_RESET",
	"RecoveryIMEXDomain":     "GPU_RECOVERY_ACTION_RECOVER_IMEX_DOMAIN",
	"RecoveryBusReset":       "GPU_RECOVERY_ACTION_BUS_RESET",
	"RecoverySystemReboot":   "GPU_RECOVERY_ACTION_SYSTEM_REBOOT",
	"FabricNotSupported":     "GPU_FABRIC_STATE_NOT_SUPPORTED",
	"FabricNotStarted":       "GPU_FABRIC_STATE_NOT_STARTED",
	"FabricInProgress":       "GPU_FABRIC_STATE_IN_PROGRESS",
	"FabricCompleted":        "GPU_FABRIC_STATE_COMPLETED",
	"FabricHealthUnknown":    "GPU_FABRIC_HEALTH_SUMMARY_NOT_SUPPORTED",
	"FabricHealthy":          "GPU_FABRIC_HEALTH_SUMMARY_HEALTHY",
	"FabricUnhealthy":        "GPU_FABRIC_HEALTH_SUMMARY_UNHEALTHY",
	"FabricLimitedCapacity":  "GPU_FABRIC_HEALTH_SUMMARY_LIMITED_CAPACITY",
	"maskTrue":               "GPU_FABRIC_HEALTH_MASK_DEGRADED_BW_TRUE",
	"shiftDegradedBandwidth": "GPU_FABRIC_HEALTH_MASK_SHIFT_DEGRADED_BW",
	"shiftRouteRecovery":     "GPU_FABRIC_HEALTH_MASK_SHIFT_ROUTE_RECOVERY",
	"shiftRouteUnhealthy":    "GPU_FABRIC_HEALTH_MASK_SHIFT_ROUTE_UNHEALTHY",
	"shiftTimeoutRecovery":   "GPU_FABRIC_HEALTH_MASK_SHIFT_ACCESS_TIMEOUT_RECOVERY",
	"shiftConfiguration":     "GPU_FABRIC_HEALTH_MASK_SHIFT_INCORRECT_CONFIGURATION",
	"widthStatement":         "GPU_FABRIC_HEALTH_MASK_WIDTH_ROUTE_UNHEALTHY",
	"widthConfiguration":     "GPU_FABRIC_HEALTH_MASK_WIDTH_INCORRECT_CONFIGURATION",
	"configurationUnknown":   "GPU_FABRIC_HEALTH_MASK_INCORRECT_CONFIGURATION_NOT_SUPPORTED",
	"configurationCorrect":   "GPU_FABRIC_HEALTH_MASK_INCORRECT_CONFIGURATION_NONE",
	"ReasonIdle":             "ClocksEventReasonGpuIdle",
	"ReasonHardwareSlowdown": "ClocksThrottleReasonHwSlowdown",
	"ReasonHardwareThermal":  "ClocksThrottleReasonHwThermalSlowdown",
	"ReasonPowerBrake":       "ClocksThrottleReasonHwPowerBrakeSlowdown",
	"EventDoubleBitECC":      "EventTypeDoubleBitEccError",
	"EventXID":               "EventTypeXidCriticalError",
	"EventRetirement":        "EventTypeDramRetirementEvent",
	"EventRetirementFailed":  "EventTypeDramRetirementFailure",
	"EventNonFatalPoison":    "EventTypeNonFatalPoisonError",
	"EventFatalPoison":       "EventTypeFatalPoisonError",
	"EventGPUUnavailable":    "EventTypeGpuUnavailableError",
	"EventRecoveryAction":    "EventTypeGpuRecoveryAction",
}

// ownConstants are the constants that do not come from nvml.h, or that TestStructVersions checks.
var ownConstants = []string{
	"NoInstance", "cpuWords", "dlinfoLinkMap", "fabricV2Version", "fabricV3Version",
	"firstProcessRoom", "largeRecord", "libraryName", "maxCPUWords", "maxProcessRoom",
	"maxProcessTries", "maxRunning", "memoryUnknown", "memoryV2Version", "symbolMissing",
	"smallRecord",
	"sramStatusVersion", "symbolCount", "temperatureVersion", "untouched", "usualRecord", "wordSize",
}

// structPair says which struct and fields of go-nvml a struct of ours corresponds to.
type structPair struct {
	theirs string
	fields map[string]string // each field of ours, and the one of theirs
}

var processFields = map[string]string{
	"pid": "Pid", "used": "UsedGpuMemory",
	"gpuInstance": "GpuInstanceId", "computeInstance": "ComputeInstanceId",
}

// structs maps the names of our structs to go-nvml's.
var structs = map[string]structPair{
	"pciInfo": {"PciInfo", map[string]string{
		"legacyBusID": "BusIdLegacy", "domain": "Domain", "bus": "Bus", "device": "Device",
		"deviceID": "PciDeviceId", "subsystemID": "PciSubSystemId", "busID": "BusId",
	}},
	"memoryV1": {"Memory", map[string]string{"total": "Total", "free": "Free", "used": "Used"}},
	"memoryV2": {"Memory_v2", map[string]string{
		"version": "Version", "total": "Total", "reserved": "Reserved", "free": "Free",
		"used": "Used",
	}},
	"utilization": {"Utilization", map[string]string{"gpu": "Gpu", "memory": "Memory"}},
	"temperature": {"Temperature", map[string]string{
		"version": "Version", "sensor": "SensorType", "celsius": "Temperature",
	}},
	"attributes": {"DeviceAttributes", map[string]string{
		"multiprocessors": "MultiprocessorCount", "copyEngines": "SharedCopyEngineCount",
		"decoders": "SharedDecoderCount", "encoders": "SharedEncoderCount",
		"jpegs": "SharedJpegCount", "opticalFlows": "SharedOfaCount",
		"gpuSlices": "GpuInstanceSliceCount", "computeSlices": "ComputeInstanceSliceCount",
		"memoryMegabytes": "MemorySizeMB",
	}},
	"sramStatus": {"EccSramErrorStatus", map[string]string{
		"version": "Version", "lifetimeParity": "AggregateUncParity",
		"lifetimeSECDED": "AggregateUncSecDed", "lifetimeCorrected": "AggregateCor",
		"parity": "VolatileUncParity", "secded": "VolatileUncSecDed", "corrected": "VolatileCor",
		"l2": "AggregateUncBucketL2", "sm": "AggregateUncBucketSm",
		"pcie": "AggregateUncBucketPcie", "mcu": "AggregateUncBucketMcu",
		"other": "AggregateUncBucketOther", "thresholdExceeded": "BThresholdExceeded",
	}},
	"spareRows": {"RowRemapperHistogramValues", map[string]string{
		"all": "Max", "high": "High", "partial": "Partial", "low": "Low", "none": "None",
	}},
	"fabricV1": {"GpuFabricInfo", fabricFields()},
	"fabricV2": {"GpuFabricInfo_v2", fabricFields("version", "Version", "mask", "HealthMask")},
	"fabricV3": {"GpuFabricInfo_v3", fabricFields(
		"version", "Version", "mask", "HealthMask", "summary", "HealthSummary")},
	"fieldValue": {"FieldValue", map[string]string{
		"field": "FieldId", "scope": "ScopeId", "timestamp": "Timestamp", "latency": "LatencyUsec",
		"kind": "ValueType", "outcome": "NvmlReturn", "value": "Value",
	}},
	"eventData": {"nvmlEventData", map[string]string{
		"device": "Device", "types": "EventType", "data": "EventData",
		"gpuInstance": "GpuInstanceId", "computeInstance": "ComputeInstanceId",
	}},
	"processV1": {"ProcessInfo_v1", map[string]string{"pid": "Pid", "used": "UsedGpuMemory"}},
	"processV2": {"ProcessInfo_v2", processFields},
	"processDetail": {"ProcessDetail_v1", map[string]string{
		"processV2": "Pid", "_": "UsedGpuCcProtectedMemory",
	}},
}

// fabricFields returns the fields that all versions have, and more pairs of a field of ours and one
// of theirs.
func fabricFields(more ...string) map[string]string {
	fields := map[string]string{
		"cluster": "ClusterUuid", "status": "Status", "clique": "CliqueId", "state": "State",
	}
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
			// Version 3 of the function that lists processes takes nvmlProcessInfo_t.
			pair := structPair{"ProcessInfo", processFields}
			report(t, compareStructs(ours, theirs, "processV2", pair))
			report(t, unlisted(ours))
		})
	}
}

// TestABIComparerNoticesErrors checks that a wrong constant, size, offset or name is noticed, and
// something that is not compared with anything.
func TestABIComparerNoticesErrors(t *testing.T) {
	const (
		theirs = "package p; const (A = 1; B = 2); " +
			"type S struct { X uint32; Y uint64; Z [4]uint32 }"
		values = "package p; const (a = 1; b = 2); "
		layout = "type s struct { x uint32; y uint64; z [4]uint32 }"
	)
	for name, ours := range map[string]string{
		"right":           values + layout,
		"constant":        "package p; const (a = 1; b = 3); " + layout,
		"constant's type": "package p; const (a = 1; b = `2`); " + layout,
		"size":            values + "type s struct { x uint32; y uint64; z [5]uint32 }",
		"field's size":    values + "type s struct { x uint16; y uint64; z [4]uint32 }",
		"order":           values + "type s struct { y uint64; x uint32; z [4]uint32 }",
		"name":            "package p; const (a = 1; c = 2); " + layout,
		"unlisted field":  values + "type s struct { x uint32; pad uint32; y uint64; z [4]uint32 }",
	} {
		us, them := checkText(t, ours), checkText(t, theirs)
		problems := compareConstants(us, them, map[string]string{"a": "A", "b": "B"})
		pair := structPair{"S", map[string]string{"x": "X", "y": "Y", "z": "Z"}}
		problems = append(problems, compareStructs(us, them, "s", pair)...)
		if (len(problems) == 0) != (name == "right") {
			t.Errorf("%s: problems %q", name, problems)
		}
	}
	const surprise = "package p; const surprise = 1; type unknown struct { x int }"
	if problems := unlisted(checkText(t, surprise)); len(problems) != 2 {
		t.Errorf("%s has the problems %q, want two", surprise, problems)
	}
}

// TestABICheckerAgreesWithCompiler checks that the type checker lays out our structs as the
// compiler does.
func TestABICheckerAgreesWithCompiler(t *testing.T) {
	ours := check(t, ".", runtime.GOARCH)
	for name, size := range map[string]uintptr{
		"pciInfo":       unsafe.Sizeof(pciInfo{}),
		"memoryV1":      unsafe.Sizeof(memoryV1{}),
		"memoryV2":      unsafe.Sizeof(memoryV2{}),
		"utilization":   unsafe.Sizeof(utilization{}),
		"temperature":   unsafe.Sizeof(temperature{}),
		"processV1":     unsafe.Sizeof(processV1{}),
		"processV2":     unsafe.Sizeof(processV2{}),
		"processDetail": unsafe.Sizeof(processDetail{}),
		"attributes":    unsafe.Sizeof(attributes{}),
		"sramStatus":    unsafe.Sizeof(sramStatus{}),
		"spareRows":     unsafe.Sizeof(spareRows{}),
		"fabricV1":      unsafe.Sizeof(fabricV1{}),
		"fabricV2":      unsafe.Sizeof(fabricV2{}),
		"fabricV3":      unsafe.Sizeof(fabricV3{}),
		"fieldValue":    unsafe.Sizeof(fieldValue{}),
		"eventData":     unsafe.Sizeof(eventData{}),
	} {
		if got, _, _ := ours.layout(name); got != int64(size) {
			t.Errorf("%s has %d bytes for the checker, %d for the compiler", name, got, size)
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
			t.Errorf("%s.%s has the offset %d for the checker, %d for the compiler",
				test.name, test.field, got, test.want)
		}
	}
}

// TestStructVersions checks the values of NVML_STRUCT_VERSION: the version in the top byte and the
// size below it.
func TestStructVersions(t *testing.T) {
	for name, test := range map[string]struct{ got, want uint32 }{
		"memory version 2":      {memoryV2Version, 0x02000028},
		"temperature version 1": {temperatureVersion, 0x0100000c},
		"SRAM version 1":        {sramStatusVersion, 0x01000068},
		"fabric version 2":      {fabricV2Version, 0x02000024},
		"fabric version 3":      {fabricV3Version, 0x03000028},
	} {
		if test.got != test.want {
			t.Errorf("%s is %#x, want %#x", name, test.got, test.want)
		}
	}
}

func TestABISymbols(t *testing.T) {
	known := cFunctions(t, goNVML(t))
	for _, name := range symbolNames {
		if !known[name] {
			t.Errorf("go-nvml has no function %q", name)
		}
	}
	// Without these, the test would show nothing.
	if known["nvmlDeviceGetNothing"] {
		t.Error("go-nvml has a function that does not exist")
	}
	if len(known) < 300 {
		t.Errorf("go-nvml has only %d functions", len(known))
	}
}

// TestFakeMatchesHeader compiles the fake library with NVIDIA's header. The compiler accepts only
// functions with the header's signatures.
func TestFakeMatchesHeader(t *testing.T) {
	header := filepath.Join(goNVML(t), "nvml.h")
	nvmltest.Build(t) // ends the test if there is no compiler
	compiler := os.Getenv("CC")
	if compiler == "" {
		compiler = "cc"
	}
	files, err := filepath.Glob("nvmltest/testdata/*.c")
	if err != nil {
		t.Fatal(err)
	}
	args := []string{
		"-std=gnu11", "-fsyntax-only", "-Wall", "-Wextra", "-Werror",
		fmt.Sprintf("-DNVML_HEADER=%q", header),
	}
	out, err := exec.Command(compiler, append(args, files...)...).CombinedOutput()
	if err != nil {
		t.Errorf("the fake does not match the header: %v\n%s", err, out)
	}
}

func report(t *testing.T, problems []string) {
	t.Helper()
	for _, p := range problems {
		t.Error(p)
	}
}
