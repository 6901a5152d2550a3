//go:build linux && !nonvml

package nvml

import "unsafe"

// The structs that C code fills. Their layouts follow nvml.h; abi_test.go compares them with go-nvml's.

// pciInfo is nvmlPciInfo_t of nvmlDeviceGetPciInfo_v3. Older versions fill only its beginning: version 1 up to
// deviceID, version 2 up to subsystemID.
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

// processDetail is nvmlProcessDetail_v1_t, which some drivers also fill where nvmlProcessInfo_t is due. It is measured with,
// not read: what it has in addition is of no use here.
type processDetail struct {
	processV2
	_ uint64 // protected memory in use
}

// Versioned structs say in their first field how large they are and which version they have (NVML_STRUCT_VERSION).
const (
	memoryV2Version    = uint32(unsafe.Sizeof(memoryV2{})) | 2<<24
	temperatureVersion = uint32(unsafe.Sizeof(temperature{})) | 1<<24
)
