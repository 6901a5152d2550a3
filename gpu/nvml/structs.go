//go:build linux && !nonvml

package nvml

import "unsafe"

// The structs that C code fills. Their layouts follow nvml.h, and abi_test.go compares them with
// go-nvml's.

// pciInfo is nvmlPciInfo_t, which nvmlDeviceGetPciInfo_v3 fills. Older versions fill only its
// beginning: version 1 up to deviceID, version 2 up to subsystemID.
type pciInfo struct {
	legacyBusID [16]byte
	domain      uint32
	bus         uint32
	device      uint32
	deviceID    uint32
	subsystemID uint32
	busID       [32]byte
}

// memoryV1 is nvmlMemory_t, in bytes.
type memoryV1 struct {
	total uint64
	free  uint64
	used  uint64
}

// memoryV2 is nvmlMemory_v2_t, in bytes.
type memoryV2 struct {
	version  uint32
	total    uint64
	reserved uint64
	free     uint64
	used     uint64
}

// utilization is nvmlUtilization_t, in percent.
type utilization struct {
	gpu    uint32
	memory uint32
}

// temperature is nvmlTemperature_v1_t.
type temperature struct {
	version uint32
	sensor  uint32
	celsius int32
}

// processV1 is nvmlProcessInfo_v1_t.
type processV1 struct {
	pid  uint32
	used uint64
}

// processV2 is nvmlProcessInfo_v2_t and nvmlProcessInfo_t.
type processV2 struct {
	pid             uint32
	used            uint64
	gpuInstance     uint32
	computeInstance uint32
}

// processDetail is nvmlProcessDetail_v1_t. Some drivers write it in place of nvmlProcessInfo_t.
// Only its size is used here; nobody needs the field that it adds.
type processDetail struct {
	processV2
	_ uint64 // protected memory in use
}

// attributes is nvmlDeviceAttributes_t.
type attributes struct {
	multiprocessors uint32
	copyEngines     uint32
	decoders        uint32
	encoders        uint32
	jpegs           uint32
	opticalFlows    uint32
	gpuSlices       uint32
	computeSlices   uint32
	memoryMegabytes uint64
}

// sramStatus is nvmlEccSramErrorStatus_v1_t.
type sramStatus struct {
	version           uint32
	lifetimeParity    uint64 // uncorrectable errors that parity found
	lifetimeSECDED    uint64 // uncorrectable errors that ECC found
	lifetimeCorrected uint64
	parity            uint64 // the same since the last reset
	secded            uint64
	corrected         uint64
	l2                uint64 // uncorrectable errors by part of the GPU
	sm                uint64
	pcie              uint64
	mcu               uint64
	other             uint64
	thresholdExceeded uint32
}

// spareRows is nvmlRowRemapperHistogramValues_t.
type spareRows struct {
	all     uint32
	high    uint32
	partial uint32
	low     uint32
	none    uint32
}

// fabricV1 is nvmlGpuFabricInfo_t.
type fabricV1 struct {
	cluster [16]byte
	status  int32
	clique  uint32
	state   uint8
}

// fabricV2 is nvmlGpuFabricInfo_v2_t.
type fabricV2 struct {
	version uint32
	cluster [16]byte
	status  int32
	clique  uint32
	state   uint8
	mask    uint32
}

// fabricV3 is nvmlGpuFabricInfo_v3_t.
type fabricV3 struct {
	version uint32
	cluster [16]byte
	status  int32
	clique  uint32
	state   uint8
	mask    uint32
	summary uint8
}

// fieldValue is nvmlFieldValue_t.
type fieldValue struct {
	field     uint32
	scope     uint32
	timestamp int64
	latency   int64
	kind      uint32
	outcome   int32
	value     [8]byte
}

// eventData is nvmlEventData_t. Version 1 of the waiting function fills only its beginning, up to
// data.
type eventData struct {
	device          uintptr
	types           uint64
	data            uint64
	gpuInstance     uint32
	computeInstance uint32
}

// Versions of structs, which their first field holds: the size of the struct and the number of the
// version (NVML_STRUCT_VERSION).
const (
	memoryV2Version    = uint32(unsafe.Sizeof(memoryV2{})) | 2<<24
	temperatureVersion = uint32(unsafe.Sizeof(temperature{})) | 1<<24
	sramStatusVersion  = uint32(unsafe.Sizeof(sramStatus{})) | 1<<24
	fabricV2Version    = uint32(unsafe.Sizeof(fabricV2{})) | 2<<24
	fabricV3Version    = uint32(unsafe.Sizeof(fabricV3{})) | 3<<24
)
