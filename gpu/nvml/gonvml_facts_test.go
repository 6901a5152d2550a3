//go:build linux && gonvml && !nonvml

package nvml

import (
	"encoding/binary"
	"fmt"
	"strings"

	gonvml "github.com/NVIDIA/go-nvml/pkg/nvml"
)

// goNVMLReader reads the facts through go-nvml. A function that the library lacks would end the process there, so each
// is looked for first.
type goNVMLReader struct{ gonvml.Interface }

func (j goNVMLReader) has(names ...string) bool {
	for _, name := range names {
		if j.Extensions().LookupSymbol(name) == nil {
			return true
		}
	}
	return false
}

// ask is the fact that read gives, if the library has one of the functions it may call.
func ask[T any](j goNVMLReader, read func() (T, gonvml.Return), names ...string) any {
	if !j.has(names...) {
		return int32(gonvml.ERROR_FUNCTION_NOT_FOUND)
	}
	value, r := read()
	return theirFact(value, r)
}

func systemOfGoNVML(lib gonvml.Interface) facts {
	// go-nvml knows the library's functions only after an Init.
	r := lib.Init()
	j := goNVMLReader{lib}
	if r != gonvml.SUCCESS {
		return j.failedStart(r)
	}
	cuda := j.SystemGetCudaDriverVersion
	if j.has("nvmlSystemGetCudaDriverVersion_v2") {
		cuda = j.SystemGetCudaDriverVersion_v2
	}
	f := facts{
		"init":   0,
		"driver": ask(j, j.SystemGetDriverVersion, "nvmlSystemGetDriverVersion"),
		"nvml":   ask(j, j.SystemGetNVMLVersion, "nvmlSystemGetNVMLVersion"),
		"cuda":   ask(j, cuda, "nvmlSystemGetCudaDriverVersion", "nvmlSystemGetCudaDriverVersion_v2"),
		"count":  ask(j, j.DeviceGetCount, "nvmlDeviceGetCount", "nvmlDeviceGetCount_v2"),
	}
	n, _ := j.DeviceGetCount()
	for i := range n + 1 {
		d, r := j.DeviceGetHandleByIndex(i)
		if r != gonvml.SUCCESS {
			f[fmt.Sprint(i)] = int32(r)
			continue
		}
		f[fmt.Sprint(i)] = j.device(d, true)
	}
	for _, pid := range namedPIDs {
		f[fmt.Sprint("process ", pid)] = ask(j, func() (string, gonvml.Return) { return j.SystemGetProcessName(pid) }, "nvmlSystemGetProcessName")
	}
	f["events"] = j.events(n)
	return f
}

// events waits for as many as [eventsEach], and for one that does not come.
func (j goNVMLReader) events(gpus int) any {
	if !j.has("nvmlEventSetCreate") {
		return int32(gonvml.ERROR_FUNCTION_NOT_FOUND)
	}
	set, r := j.EventSetCreate()
	if r != gonvml.SUCCESS {
		return int32(r)
	}
	defer set.Free()
	var list []any
	for i := range gpus {
		if d, r := j.DeviceGetHandleByIndex(i); r == gonvml.SUCCESS {
			list = append(list, int32(d.RegisterEvents(gonvml.EventTypeXidCriticalError|gonvml.EventTypeDoubleBitEccError, set)))
		}
	}
	for range eventsEach {
		e, r := set.Wait(1)
		if r != gonvml.SUCCESS {
			list = append(list, int32(r))
			continue
		}
		uuid, _ := e.Device.GetUUID()
		f := facts{"uuid": uuid, "type": e.EventType, "data": e.EventData}
		if j.has("nvmlEventSetWait_v2") { // otherwise go-nvml has zeros here
			f["instance"] = [2]uint32{e.GpuInstanceId, e.ComputeInstanceId}
		}
		list = append(list, f)
	}
	return list
}

// failedStart is what all calls answer when the library has not been started.
func (j goNVMLReader) failedStart(r gonvml.Return) facts {
	none := int32(gonvml.ERROR_UNINITIALIZED)
	f := facts{"init": int32(r), "driver": none, "nvml": none, "cuda": none, "count": none, "0": none, "events": none}
	for _, pid := range namedPIDs {
		f[fmt.Sprint("process ", pid)] = none
	}
	return f
}

func (j goNVMLReader) device(d gonvml.Device, whole bool) facts {
	const prefix = "nvmlDeviceGet"
	clock := func(domain gonvml.ClockType) func() (uint32, gonvml.Return) {
		return func() (uint32, gonvml.Return) { return d.GetClockInfo(domain) }
	}
	f := facts{
		"name":             ask(j, d.GetName, prefix+"Name"),
		"uuid":             ask(j, d.GetUUID, prefix+"UUID"),
		"pci":              j.pci(d),
		"minor":            ask(j, d.GetMinorNumber, prefix+"MinorNumber"),
		"index":            ask(j, d.GetIndex, prefix+"Index"),
		"memory":           j.memory(d),
		"temperature":      j.temperature(d),
		"power usage":      ask(j, d.GetPowerUsage, prefix+"PowerUsage"),
		"power limit":      ask(j, d.GetEnforcedPowerLimit, prefix+"EnforcedPowerLimit"),
		"graphics clock":   ask(j, clock(gonvml.CLOCK_GRAPHICS), prefix+"ClockInfo"),
		"SM clock":         ask(j, clock(gonvml.CLOCK_SM), prefix+"ClockInfo"),
		"memory clock":     ask(j, clock(gonvml.CLOCK_MEM), prefix+"ClockInfo"),
		"gpu instance":     unsigned(ask(j, d.GetGpuInstanceId, prefix+"GpuInstanceId")),
		"compute instance": unsigned(ask(j, d.GetComputeInstanceId, prefix+"ComputeInstanceId")),
		"places":           ask(j, d.GetMaxMigDeviceCount, prefix+"MaxMigDeviceCount"),
		"cpus":             j.cpus(d),
		"processes":        j.processes(d),
		"utilization": ask(j, func() ([2]uint32, gonvml.Return) {
			u, r := d.GetUtilizationRates()
			return [2]uint32{u.Gpu, u.Memory}, r
		}, prefix+"UtilizationRates"),
		"mig": ask(j, func() ([2]bool, gonvml.Return) {
			current, pending, r := d.GetMigMode()
			return [2]bool{current == gonvml.DEVICE_MIG_ENABLE, pending == gonvml.DEVICE_MIG_ENABLE}, r
		}, prefix+"MigMode"),
		"compute mode": ask(j, func() (ComputeMode, gonvml.Return) {
			mode, r := d.GetComputeMode()
			return ComputeMode(mode), r
		}, prefix+"ComputeMode"),
		"ECC mode": ask(j, func() ([2]bool, gonvml.Return) {
			current, pending, r := d.GetEccMode()
			return [2]bool{current == gonvml.FEATURE_ENABLED, pending == gonvml.FEATURE_ENABLED}, r
		}, prefix+"EccMode"),
		"ECC errors": ask(j, func() (uint64, gonvml.Return) {
			return d.GetTotalEccErrors(gonvml.MEMORY_ERROR_TYPE_UNCORRECTED, gonvml.VOLATILE_ECC)
		}, prefix+"TotalEccErrors"),
		"SRAM errors": ask(j, func() (uint64, gonvml.Return) {
			return d.GetMemoryErrorCounter(gonvml.MEMORY_ERROR_TYPE_UNCORRECTED, gonvml.VOLATILE_ECC, gonvml.MEMORY_LOCATION_SRAM)
		}, prefix+"MemoryErrorCounter"),
		"rows": ask(j, func() (RemappedRows, gonvml.Return) {
			corrected, uncorrected, pending, failed, r := d.GetRemappedRows()
			return RemappedRows{uint32(corrected), uint32(uncorrected), pending, failed}, r
		}, prefix+"RemappedRows"),
		"pages": ask(j, func() (bool, gonvml.Return) {
			pending, r := d.GetRetiredPagesPendingStatus()
			return pending == gonvml.FEATURE_ENABLED, r
		}, prefix+"RetiredPagesPendingStatus"),
		"persistence": ask(j, func() (bool, gonvml.Return) {
			mode, r := d.GetPersistenceMode()
			return mode == gonvml.FEATURE_ENABLED, r
		}, prefix+"PersistenceMode"),
		"attributes": ask(j, func() (Attributes, gonvml.Return) {
			a, r := d.GetAttributes()
			return Attributes{a.MultiprocessorCount, a.GpuInstanceSliceCount, a.ComputeInstanceSliceCount, a.MemorySizeMB}, r
		}, prefix+"Attributes_v2"),
		"event types": ask(j, d.GetSupportedEventTypes, prefix+"SupportedEventTypes"),
		"fabric":      j.fabric(d),
		"recovery":    j.recovery(d),
	}
	if uuid, r := d.GetUUID(); r == gonvml.SUCCESS {
		same, r := j.DeviceGetHandleByUUID(uuid)
		f["handle by UUID"] = theirFact(same == d, r)
	}
	for place := 0; whole && place < 8; place++ {
		f[fmt.Sprint("place ", place)] = j.place(d, place)
	}
	return f
}

func (j goNVMLReader) place(d gonvml.Device, place int) any {
	if !j.has("nvmlDeviceGetMigDeviceHandleByIndex") {
		return int32(gonvml.ERROR_FUNCTION_NOT_FOUND)
	}
	instance, r := d.GetMigDeviceHandleByIndex(place)
	if r != gonvml.SUCCESS {
		return int32(r)
	}
	return j.device(instance, false)
}

// pci spells the address from go-nvml's text, not its numbers, as the kernel does: lower case, and of eight digits
// of domain no more than four if they are zero.
func (j goNVMLReader) pci(d gonvml.Device) any {
	p, r := d.GetPciInfo()
	if r != gonvml.SUCCESS {
		return int32(r)
	}
	id := j.busID(p)
	for len(id) > len("0000:00:00.0") && id[0] == '0' {
		id = id[1:]
	}
	return PCIInfo{BusID: strings.ToLower(id), Domain: p.Domain, Bus: p.Bus, Device: p.Device, VendorDevice: p.PciDeviceId}
}

func (j goNVMLReader) busID(p gonvml.PciInfo) string {
	var id []byte
	for _, c := range p.BusId {
		if c != 0 {
			id = append(id, byte(c))
		}
	}
	if len(id) > 0 {
		return string(id)
	}
	for _, c := range p.BusIdLegacy {
		if c != 0 {
			id = append(id, byte(c))
		}
	}
	return string(id)
}

func (j goNVMLReader) memory(d gonvml.Device) any {
	if j.has("nvmlDeviceGetMemoryInfo_v2") {
		m, r := d.GetMemoryInfo_v2()
		return theirFact(MemoryInfo{Total: m.Total, Free: m.Free, Used: m.Used, Reserved: m.Reserved}, r)
	}
	m, r := d.GetMemoryInfo()
	return theirFact(MemoryInfo{Total: m.Total, Free: m.Free, Used: m.Used}, r)
}

func (j goNVMLReader) temperature(d gonvml.Device) any {
	if j.has("nvmlDeviceGetTemperatureV") {
		t, r := d.GetTemperatureV().V1()
		return theirFact(int(t.Temperature), r)
	}
	t, r := d.GetTemperature(gonvml.TEMPERATURE_GPU)
	return theirFact(int(t), r)
}

func (j goNVMLReader) cpus(d gonvml.Device) any {
	read := d.GetCpuAffinity
	if j.has("nvmlDeviceGetCpuAffinityWithinScope") {
		read = func(n int) ([]uint, gonvml.Return) { return d.GetCpuAffinityWithinScope(n, gonvml.AFFINITY_SCOPE_NODE) }
	}
	words, r := read(8192)
	mask := []uint64{}
	for _, word := range words {
		mask = append(mask, uint64(word))
	}
	for len(mask) > 0 && mask[len(mask)-1] == 0 {
		mask = mask[:len(mask)-1]
	}
	return theirFact(mask, r)
}

func (j goNVMLReader) processes(d gonvml.Device) any {
	list, r := d.GetComputeRunningProcesses()
	var processes []Process
	for _, p := range list {
		ours := Process{PID: p.Pid, GPUInstance: p.GpuInstanceId, ComputeInstance: p.ComputeInstanceId}
		if p.UsedGpuMemory != 1<<64-1 {
			ours.UsedBytes, ours.UsedKnown = p.UsedGpuMemory, true
		}
		processes = append(processes, ours)
	}
	return theirFact(processes, r)
}

// unsigned is an id as we have it.
func unsigned(id any) any {
	if n, ok := id.(int); ok {
		return uint32(n)
	}
	return id
}

func (j goNVMLReader) fabric(d gonvml.Device) any {
	if j.has("nvmlDeviceGetGpuFabricInfoV") {
		v3, r := d.GetGpuFabricInfoV().V3()
		if r != gonvml.ERROR_ARGUMENT_VERSION_MISMATCH {
			return theirFact(FabricInfo{FabricState(v3.State), Return(v3.Status), FabricHealth(v3.HealthSummary)}, r)
		}
		v2, r := d.GetGpuFabricInfoV().V2()
		return theirFact(FabricInfo{FabricState(v2.State), Return(v2.Status), 0}, r)
	}
	return ask(j, func() (FabricInfo, gonvml.Return) {
		v1, r := d.GetGpuFabricInfo()
		return FabricInfo{FabricState(v1.State), Return(v1.Status), 0}, r
	}, "nvmlDeviceGetGpuFabricInfo")
}

func (j goNVMLReader) recovery(d gonvml.Device) any {
	if !j.has("nvmlDeviceGetFieldValues") {
		return int32(gonvml.ERROR_FUNCTION_NOT_FOUND)
	}
	values := []gonvml.FieldValue{{FieldId: gonvml.FI_DEV_GET_GPU_RECOVERY_ACTION}}
	r := d.GetFieldValues(values)
	if r == gonvml.SUCCESS {
		r = gonvml.Return(values[0].NvmlReturn)
	}
	return theirFact(RecoveryAction(binary.NativeEndian.Uint32(values[0].Value[:4])), r)
}
