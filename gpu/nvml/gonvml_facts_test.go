//go:build linux && gonvml && !nonvml

package nvml

import (
	"encoding/binary"
	"fmt"
	"strings"

	gonvml "github.com/NVIDIA/go-nvml/pkg/nvml"
)

// goNVMLReader asks a library through go-nvml. go-nvml ends the process when it calls a function
// that the library lacks, so each function is looked up first.
type goNVMLReader struct{ gonvml.Interface }

// has reports whether the library has one of the functions.
func (r goNVMLReader) has(names ...string) bool {
	for _, name := range names {
		if r.Extensions().LookupSymbol(name) == nil {
			return true
		}
	}
	return false
}

// ask returns the answer of read, if the library has one of the functions that it may call.
func ask[T any](r goNVMLReader, read func() (T, gonvml.Return), names ...string) any {
	if !r.has(names...) {
		return int32(gonvml.ERROR_FUNCTION_NOT_FOUND)
	}
	value, code := read()
	return answer(value, code)
}

// answer returns the value or, if the call failed, its code.
func answer(value any, code gonvml.Return) any {
	if code != gonvml.SUCCESS {
		return int32(code)
	}
	return value
}

// goNVMLFacts asks what libraryFacts asks.
func goNVMLFacts(lib gonvml.Interface) facts {
	code := lib.Init() // without it, go-nvml does not know the library's functions
	r := goNVMLReader{lib}
	if code != gonvml.SUCCESS {
		return uninitializedFacts(code)
	}
	const cudaVersion = "nvmlSystemGetCudaDriverVersion"
	cuda := r.SystemGetCudaDriverVersion
	if r.has(cudaVersion + "_v2") {
		cuda = r.SystemGetCudaDriverVersion_v2
	}
	f := facts{
		"init":   0,
		"driver": ask(r, r.SystemGetDriverVersion, "nvmlSystemGetDriverVersion"),
		"nvml":   ask(r, r.SystemGetNVMLVersion, "nvmlSystemGetNVMLVersion"),
		"cuda":   ask(r, cuda, cudaVersion, cudaVersion+"_v2"),
		"count":  ask(r, r.DeviceGetCount, "nvmlDeviceGetCount", "nvmlDeviceGetCount_v2"),
	}
	n, _ := r.DeviceGetCount()
	for i := range n + 1 {
		d, code := r.DeviceGetHandleByIndex(i)
		if code != gonvml.SUCCESS {
			f[fmt.Sprint(i)] = int32(code)
			continue
		}
		f[fmt.Sprint(i)] = r.device(d, true)
	}
	for _, pid := range namedPIDs {
		read := func() (string, gonvml.Return) { return r.SystemGetProcessName(pid) }
		f[fmt.Sprint("process ", pid)] = ask(r, read, "nvmlSystemGetProcessName")
	}
	f["events"] = r.events(n)
	return f
}

// uninitializedFacts returns what all calls answer if the initialization failed.
func uninitializedFacts(code gonvml.Return) facts {
	f := facts{"init": int32(code)}
	names := []string{"driver", "nvml", "cuda", "count", "0", "events"}
	for _, pid := range namedPIDs {
		names = append(names, fmt.Sprint("process ", pid))
	}
	for _, name := range names {
		f[name] = int32(gonvml.ERROR_UNINITIALIZED)
	}
	return f
}

// events asks what eventFacts asks.
func (r goNVMLReader) events(gpus int) any {
	if !r.has("nvmlEventSetCreate") {
		return int32(gonvml.ERROR_FUNCTION_NOT_FOUND)
	}
	set, code := r.EventSetCreate()
	if code != gonvml.SUCCESS {
		return int32(code)
	}
	defer set.Free()
	const types = gonvml.EventTypeXidCriticalError | gonvml.EventTypeDoubleBitEccError
	var list []any
	for i := range gpus {
		if d, code := r.DeviceGetHandleByIndex(i); code == gonvml.SUCCESS {
			list = append(list, int32(d.RegisterEvents(types, set)))
		}
	}
	for range eventsEach {
		e, code := set.Wait(1)
		if code != gonvml.SUCCESS {
			list = append(list, int32(code))
			continue
		}
		uuid, _ := e.Device.GetUUID()
		f := facts{"uuid": uuid, "type": e.EventType, "data": e.EventData}
		if r.has("nvmlEventSetWait_v2") { // version 1 leaves the ids 0
			f["instance"] = [2]uint32{e.GpuInstanceId, e.ComputeInstanceId}
		}
		list = append(list, f)
	}
	return list
}

// device asks what allFacts asks.
func (r goNVMLReader) device(d gonvml.Device, whole bool) facts {
	const prefix = "nvmlDeviceGet"
	clock := func(domain gonvml.ClockType) any {
		read := func() (uint32, gonvml.Return) { return d.GetClockInfo(domain) }
		return ask(r, read, prefix+"ClockInfo")
	}
	f := facts{
		"name":           ask(r, d.GetName, prefix+"Name"),
		"uuid":           ask(r, d.GetUUID, prefix+"UUID"),
		"pci":            pciFact(d),
		"minor":          ask(r, d.GetMinorNumber, prefix+"MinorNumber"),
		"memory":         r.memory(d),
		"temperature":    r.temperature(d),
		"power usage":    ask(r, d.GetPowerUsage, prefix+"PowerUsage"),
		"power limit":    ask(r, d.GetEnforcedPowerLimit, prefix+"EnforcedPowerLimit"),
		"graphics clock": clock(gonvml.CLOCK_GRAPHICS),
		"SM clock":       clock(gonvml.CLOCK_SM),
		"memory clock":   clock(gonvml.CLOCK_MEM),
		"max SM clock": ask(r, func() (uint32, gonvml.Return) {
			return d.GetMaxClockInfo(gonvml.CLOCK_SM)
		}, prefix+"MaxClockInfo"),
		"cores":            unsigned(ask(r, d.GetNumGpuCores, prefix+"NumGpuCores")),
		"gpu instance":     unsigned(ask(r, d.GetGpuInstanceId, prefix+"GpuInstanceId")),
		"compute instance": unsigned(ask(r, d.GetComputeInstanceId, prefix+"ComputeInstanceId")),
		"places":           ask(r, d.GetMaxMigDeviceCount, prefix+"MaxMigDeviceCount"),
		"cpus":             r.cpus(d),
		"processes":        processesFact(d),
		"utilization": ask(r, func() ([2]uint32, gonvml.Return) {
			u, code := d.GetUtilizationRates()
			return [2]uint32{u.Gpu, u.Memory}, code
		}, prefix+"UtilizationRates"),
		"mig": ask(r, func() ([2]bool, gonvml.Return) {
			const on = gonvml.DEVICE_MIG_ENABLE
			current, pending, code := d.GetMigMode()
			return [2]bool{current == on, pending == on}, code
		}, prefix+"MigMode"),
		"compute mode": ask(r, func() (ComputeMode, gonvml.Return) {
			mode, code := d.GetComputeMode()
			return ComputeMode(mode), code
		}, prefix+"ComputeMode"),
		"ECC mode": ask(r, func() ([2]bool, gonvml.Return) {
			const on = gonvml.FEATURE_ENABLED
			current, pending, code := d.GetEccMode()
			return [2]bool{current == on, pending == on}, code
		}, prefix+"EccMode"),
		"ECC errors": ask(r, func() (uint64, gonvml.Return) {
			return d.GetTotalEccErrors(gonvml.MEMORY_ERROR_TYPE_UNCORRECTED, gonvml.VOLATILE_ECC)
		}, prefix+"TotalEccErrors"),
		"SRAM errors": ask(r, func() (uint64, gonvml.Return) {
			return d.GetMemoryErrorCounter(gonvml.MEMORY_ERROR_TYPE_UNCORRECTED,
				gonvml.VOLATILE_ECC, gonvml.MEMORY_LOCATION_SRAM)
		}, prefix+"MemoryErrorCounter"),
		"rows": ask(r, func() (RemappedRows, gonvml.Return) {
			corrected, uncorrected, pending, failed, code := d.GetRemappedRows()
			return RemappedRows{uint32(corrected), uint32(uncorrected), pending, failed}, code
		}, prefix+"RemappedRows"),
		"SRAM threshold": ask(r, func() (bool, gonvml.Return) {
			status, code := d.GetSramEccErrorStatus()
			return status.BThresholdExceeded != 0, code
		}, prefix+"SramEccErrorStatus"),
		"spare rows": ask(r, func() (SpareRows, gonvml.Return) {
			rows, code := d.GetRowRemapperHistogram()
			return SpareRows{rows.Max, rows.High, rows.Partial, rows.Low, rows.None}, code
		}, prefix+"RowRemapperHistogram"),
		"clock reasons": r.clockReasons(d),
		"pages": ask(r, func() (bool, gonvml.Return) {
			pending, code := d.GetRetiredPagesPendingStatus()
			return pending == gonvml.FEATURE_ENABLED, code
		}, prefix+"RetiredPagesPendingStatus"),
		"persistence": ask(r, func() (bool, gonvml.Return) {
			mode, code := d.GetPersistenceMode()
			return mode == gonvml.FEATURE_ENABLED, code
		}, prefix+"PersistenceMode"),
		"attributes": ask(r, func() (Attributes, gonvml.Return) {
			a, code := d.GetAttributes()
			return Attributes{
				a.MultiprocessorCount, a.GpuInstanceSliceCount, a.ComputeInstanceSliceCount,
				a.MemorySizeMB,
			}, code
		}, prefix+"Attributes_v2"),
		"event types": ask(r, func() (EventTypes, gonvml.Return) {
			types, code := d.GetSupportedEventTypes()
			return EventTypes(types), code
		}, prefix+"SupportedEventTypes"),
		"fabric":   r.fabric(d),
		"recovery": r.recovery(d),
	}
	for place := 0; whole && place < 8; place++ {
		f[fmt.Sprint("place ", place)] = r.place(d, place)
	}
	return f
}

func (r goNVMLReader) place(d gonvml.Device, place int) any {
	if !r.has("nvmlDeviceGetMigDeviceHandleByIndex") {
		return int32(gonvml.ERROR_FUNCTION_NOT_FOUND)
	}
	instance, code := d.GetMigDeviceHandleByIndex(place)
	if code != gonvml.SUCCESS {
		return int32(code)
	}
	return r.device(instance, false)
}

// pciFact takes the address from go-nvml's text and not from its numbers. It spells it like the
// kernel: in lower case, and with a domain of four digits unless it needs more.
func pciFact(d gonvml.Device) any {
	p, code := d.GetPciInfo()
	if code != gonvml.SUCCESS {
		return int32(code)
	}
	id := goText(p.BusId[:])
	if id == "" {
		id = goText(p.BusIdLegacy[:])
	}
	for len(id) > len("0000:00:00.0") && id[0] == '0' {
		id = id[1:]
	}
	return PCIInfo{
		BusID: strings.ToLower(id), Domain: p.Domain, Bus: p.Bus, Device: p.Device,
		VendorDevice: p.PciDeviceId,
	}
}

// goText returns the characters of a text that go-nvml leaves as C has it.
func goText(text []int8) string {
	var s []byte
	for _, c := range text {
		if c != 0 {
			s = append(s, byte(c))
		}
	}
	return string(s)
}

func (r goNVMLReader) memory(d gonvml.Device) any {
	if r.has("nvmlDeviceGetMemoryInfo_v2") {
		m, code := d.GetMemoryInfo_v2()
		return answer(MemoryInfo{m.Total, m.Free, m.Used, m.Reserved}, code)
	}
	m, code := d.GetMemoryInfo()
	return answer(MemoryInfo{Total: m.Total, Free: m.Free, Used: m.Used}, code)
}

func (r goNVMLReader) temperature(d gonvml.Device) any {
	if r.has("nvmlDeviceGetTemperatureV") {
		t, code := d.GetTemperatureV().V1()
		return answer(int(t.Temperature), code)
	}
	t, code := d.GetTemperature(gonvml.TEMPERATURE_GPU)
	return answer(int(t), code)
}

func (r goNVMLReader) cpus(d gonvml.Device) any {
	read := d.GetCpuAffinity
	if r.has("nvmlDeviceGetCpuAffinityWithinScope") {
		read = func(n int) ([]uint, gonvml.Return) {
			return d.GetCpuAffinityWithinScope(n, gonvml.AFFINITY_SCOPE_NODE)
		}
	}
	words, code := read(8192)
	mask := []uint64{}
	for _, word := range words {
		mask = append(mask, uint64(word))
	}
	for len(mask) > 0 && mask[len(mask)-1] == 0 {
		mask = mask[:len(mask)-1]
	}
	return answer(mask, code)
}

func processesFact(d gonvml.Device) any {
	list, code := d.GetComputeRunningProcesses()
	var processes []Process
	for _, p := range list {
		ours := Process{
			PID: p.Pid, GPUInstance: p.GpuInstanceId, ComputeInstance: p.ComputeInstanceId,
		}
		if p.UsedGpuMemory != 1<<64-1 { // NVML_VALUE_NOT_AVAILABLE
			ours.UsedBytes, ours.UsedKnown = p.UsedGpuMemory, true
		}
		processes = append(processes, ours)
	}
	return answer(processes, code)
}

// unsigned returns an id with the type that our binding gives it.
func unsigned(id any) any {
	if n, ok := id.(int); ok {
		return uint32(n)
	}
	return id
}

func (r goNVMLReader) fabric(d gonvml.Device) any {
	if r.has("nvmlDeviceGetGpuFabricInfoV") {
		v3, code := d.GetGpuFabricInfoV().V3()
		if code != gonvml.ERROR_ARGUMENT_VERSION_MISMATCH {
			info := FabricInfo{
				FabricState(v3.State), Return(v3.Status), FabricHealth(v3.HealthSummary),
				FabricMask(v3.HealthMask),
			}
			return answer(info, code)
		}
		v2, code := d.GetGpuFabricInfoV().V2()
		return answer(FabricInfo{
			FabricState(v2.State), Return(v2.Status), 0, FabricMask(v2.HealthMask),
		}, code)
	}
	return ask(r, func() (FabricInfo, gonvml.Return) {
		v1, code := d.GetGpuFabricInfo()
		return FabricInfo{FabricState(v1.State), Return(v1.Status), 0, 0}, code
	}, "nvmlDeviceGetGpuFabricInfo")
}

func (r goNVMLReader) clockReasons(d gonvml.Device) any {
	const prefix = "nvmlDeviceGetCurrentClocks"
	read := d.GetCurrentClocksEventReasons
	if !r.has(prefix + "EventReasons") {
		read = d.GetCurrentClocksThrottleReasons
	}
	return ask(r, func() (ClockReasons, gonvml.Return) {
		reasons, code := read()
		return ClockReasons(reasons), code
	}, prefix+"EventReasons", prefix+"ThrottleReasons")
}

func (r goNVMLReader) recovery(d gonvml.Device) any {
	if !r.has("nvmlDeviceGetFieldValues") {
		return int32(gonvml.ERROR_FUNCTION_NOT_FOUND)
	}
	values := []gonvml.FieldValue{{FieldId: gonvml.FI_DEV_GET_GPU_RECOVERY_ACTION}}
	code := d.GetFieldValues(values)
	if code == gonvml.SUCCESS {
		code = gonvml.Return(values[0].NvmlReturn)
	}
	return answer(RecoveryAction(binary.NativeEndian.Uint32(values[0].Value[:4])), code)
}
