package nvmltest

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Machine is what a fake library serves.
type Machine struct {
	DriverVersion string // "550.54.15"
	NVMLVersion   string // "12.550.54.15"
	CUDAVersion   int    // 12040
	Devices       []Device

	// Behaviors make functions do something else than answer truthfully.
	Behaviors []Behavior
	// Missing are the functions that the library lacks.
	Missing []string
	// LogCalls makes the library record its calls; see [Calls] and [WaitForCall].
	LogCalls bool
	// WideProcesses makes nvmlDeviceGetComputeRunningProcesses_v3 write records of 32 bytes, as
	// some drivers of the 535 series do.
	WideProcesses bool
	// FabricVersion is the newest struct that nvmlDeviceGetGpuFabricInfoV knows, 2 or 3. 0 stands
	// for 3.
	FabricVersion int
	// Events are delivered in this order and once to each process, which must have registered for
	// an event before its turn comes. A machine given to [Change] may have more events at the end.
	Events []Event
}

// Device is a GPU.
type Device struct {
	Name, UUID        string
	Domain, Bus, Slot uint32 // the PCI address
	PCIDevice         uint32 // device id << 16 | vendor id
	Minor             int
	Memory            Memory
	GPUUtilization    uint32    // percent
	MemoryUtilization uint32    // percent
	Temperature       int       // degrees Celsius
	PowerUsage        uint32    // milliwatts
	PowerLimit        uint32    // milliwatts
	Clocks            [3]uint32 // graphics, SM, memory, in MHz
	MaxSMClock, Cores uint32    // MHz, and CUDA cores; if 0, not supported
	ComputeMode       uint32
	MIGCapable        bool // if false, nvmlDeviceGetMigMode is not supported
	MIG, MIGPending   bool
	Instances         []Instance // by place, at most 7; a place is empty if it has no UUID
	CPUs              []uint64   // mask of the CPUs on its NUMA node; if empty, not supported
	Processes         []Process
	Health            Health
	// EventTypes are the events that the GPU can report (nvmlDeviceGetSupportedEventTypes).
	EventTypes uint64
	// ProcessGrowth is how many processes join with each listing from the second one on.
	ProcessGrowth int
}

// Memory is device memory in bytes.
type Memory struct{ Total, Free, Used, Reserved uint64 }

// Instance is a MIG instance.
type Instance struct {
	Name, UUID                   string
	Memory                       Memory
	GPUInstance, ComputeInstance uint32
	// GPUSlices, ComputeSlices and Multiprocessors are the attributes of its profile. If GPUSlices
	// is 0, the attributes are not supported.
	GPUSlices, ComputeSlices, Multiprocessors uint32
	// SRAMErrors counts its uncorrectable errors since the last reset.
	SRAMErrors uint64
}

// NoInstance is the id of the MIG instance of a process or event that has none.
const NoInstance = 1<<32 - 1

// UnknownMemory is the used memory of a process if the driver cannot tell it.
const UnknownMemory = 1<<64 - 1

// Process is a process with a compute context.
type Process struct {
	PID                          uint32
	Used                         uint64 // bytes
	GPUInstance, ComputeInstance uint32
	// Name is the answer of nvmlSystemGetProcessName. If it is "", the answer is "not found".
	Name string
}

// AllDevices in a [Behavior] stands for calls about any device and calls about none.
const AllDevices = -1

// Behavior is what a function does instead of its work ([Fail], [Hang], [Segfault], [Abort]) or
// before it ([Sleep], [Garbage]).
type Behavior struct {
	// Function is the name of the C function. A "*" at its end matches any rest.
	Function string
	// Device is the index of the device that the call has to be about, or AllDevices.
	Device int
	Action Action
}

// Action is something that a function does. [Action.In] makes it a Behavior.
type Action struct {
	name string
	arg  int
}

// Actions without an argument. Garbage fills the whole buffer of a function that returns a string
// with bytes other than NUL.
var (
	Hang     = Action{name: "hang"}
	Segfault = Action{name: "segfault"}
	Abort    = Action{name: "abort"}
	Garbage  = Action{name: "garbage"}
)

// Fail makes a function return an nvmlReturn_t at once. With 0 it claims success and has written
// nothing.
func Fail(code int) Action { return Action{"return", code} }

// Sleep delays a function's work.
func Sleep(milliseconds int) Action { return Action{"sleep", milliseconds} }

// In makes a function do the action. A "*" at the end of the name matches any rest.
func (a Action) In(function string) Behavior { return a.InDevice(function, AllDevices) }

// InDevice makes a function do the action in calls about one device.
func (a Action) InDevice(function string, device int) Behavior {
	return Behavior{Function: function, Device: device, Action: a}
}

// With returns the machine with more behaviors.
func (m Machine) With(behaviors ...Behavior) Machine {
	m.Behaviors = append(slices.Clip(m.Behaviors), behaviors...)
	return m
}

// Without returns the machine with a library that lacks these functions as well.
func (m Machine) Without(functions ...string) Machine {
	m.Missing = append(slices.Clip(m.Missing), functions...)
	return m
}

// WithDevice returns the machine with a change to device i.
func (m Machine) WithDevice(i int, change func(*Device)) Machine {
	m.Devices = slices.Clone(m.Devices)
	change(&m.Devices[i])
	return m
}

// encode writes the format that testdata/conf.c reads.
func (m Machine) encode() string {
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	line("driver %s", escape(m.DriverVersion))
	line("nvml %s", escape(m.NVMLVersion))
	line("cuda %d", m.CUDAVersion)
	line("log_calls %d", number(m.LogCalls))
	line("wide_processes %d", number(m.WideProcesses))
	line("fabric_version %d", cmp.Or(m.FabricVersion, 3))
	for _, r := range m.Behaviors {
		line("rule %s %d %s %d", r.Function, r.Device, r.Action.name, r.Action.arg)
	}
	for _, d := range m.Devices {
		d.encode(line)
	}
	for _, e := range m.Events {
		line("event %d %d %d %d %d %d", e.Device, e.Type, e.Data,
			e.GPUInstance, e.ComputeInstance, max(e.Count, 1))
	}
	return b.String()
}

func (d Device) encode(line func(string, ...any)) {
	line("device")
	line("name %s", escape(d.Name))
	line("uuid %s", escape(d.UUID))
	line("pci %x %x %x %x", d.Domain, d.Bus, d.Slot, d.PCIDevice)
	line("minor %d", d.Minor)
	line("memory %s", d.Memory.encode())
	line("utilization %d %d", d.GPUUtilization, d.MemoryUtilization)
	line("temperature %d", d.Temperature)
	line("power %d %d", d.PowerUsage, d.PowerLimit)
	line("clocks %d %d %d", d.Clocks[0], d.Clocks[1], d.Clocks[2])
	line("speed %d %d", d.MaxSMClock, d.Cores)
	line("compute_mode %d", d.ComputeMode)
	line("mig %d %d %d", number(d.MIGCapable), number(d.MIG), number(d.MIGPending))
	line("process_growth %d", d.ProcessGrowth)
	line("cpus %s", hexWords(d.CPUs))
	line("event_types %d", d.EventTypes)
	d.Health.encode(line)
	for _, p := range d.Processes {
		line("process %d %d %d %d %s", p.PID, p.Used,
			p.GPUInstance, p.ComputeInstance, escape(p.Name))
	}
	for _, i := range d.Instances {
		line("instance")
		line("name %s", escape(i.Name))
		line("uuid %s", escape(i.UUID))
		line("memory %s", i.Memory.encode())
		line("ids %d %d", i.GPUInstance, i.ComputeInstance)
		line("attributes %d %d %d", i.Multiprocessors, i.GPUSlices, i.ComputeSlices)
		line("sram_errors %d", i.SRAMErrors)
	}
}

func (m Memory) encode() string {
	return fmt.Sprintf("%d %d %d %d", m.Total, m.Free, m.Used, m.Reserved)
}

func hexWords(words []uint64) string {
	var texts []string
	for _, w := range words {
		texts = append(texts, fmt.Sprintf("%x", w))
	}
	return strings.Join(texts, " ")
}

func number(b bool) int {
	if b {
		return 1
	}
	return 0
}

// escape writes control characters, bytes beyond ASCII and "%" as %XX.
func escape(s string) string {
	var b strings.Builder
	for i := range len(s) {
		if c := s[i]; c < ' ' || c > '~' || c == '%' {
			fmt.Fprintf(&b, "%%%02x", c)
		} else {
			b.WriteByte(c)
		}
	}
	return b.String()
}
