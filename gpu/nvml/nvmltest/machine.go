package nvmltest

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Machine is what a fake library tells.
type Machine struct {
	DriverVersion string // "550.54.15"
	NVMLVersion   string // "12.550.54.15"
	CUDAVersion   int    // 12040
	Devices       []Device

	// Behaviors are what functions do other than answer truthfully.
	Behaviors []Behavior
	// Missing are functions that the library does not have.
	Missing []string
	// LogCalls makes the library write down what is called; see [Calls].
	LogCalls bool
	// WideProcesses makes nvmlDeviceGetComputeRunningProcesses_v3 write the 32-byte records of some 535 drivers.
	WideProcesses bool
	// FabricVersion is the newest struct that nvmlDeviceGetGpuFabricInfoV knows, 2 or 3; 0 is 3.
	FabricVersion int
	// Events are delivered in this order, once to each process that has registered for them when their turn comes. A
	// machine given to [Change] may have more of them at the end.
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
	ComputeMode       uint32
	MIGCapable        bool // otherwise nvmlDeviceGetMigMode is not supported
	MIG, MIGPending   bool
	Instances         []Instance // by place, at most 7; one without a UUID is an empty place
	CPUs              []uint64   // mask of the CPUs on its NUMA node; none: not supported
	Processes         []Process
	Health            Health
	// EventTypes are the events that it can report, as nvmlDeviceGetSupportedEventTypes says.
	EventTypes uint64
	// ProcessGrowth processes join with each listing, from the second on.
	ProcessGrowth int
}

// Memory is device memory in bytes.
type Memory struct{ Total, Free, Used, Reserved uint64 }

// Instance is a MIG instance.
type Instance struct {
	Name, UUID                   string
	Memory                       Memory
	GPUInstance, ComputeInstance uint32
	// GPUSlices and ComputeSlices are the attributes of its profile; without GPUSlices they are not supported.
	GPUSlices, ComputeSlices, Multiprocessors uint32
	// SRAMErrors are its uncorrectable errors since the last reset.
	SRAMErrors uint64
}

// NoInstance is the MIG instance id of a process that has none.
const NoInstance = 1<<32 - 1

// UnknownMemory is the used memory of a process whose use cannot be told.
const UnknownMemory = 1<<64 - 1

// Process is a process with a compute context.
type Process struct {
	PID                          uint32
	Used                         uint64 // bytes
	GPUInstance, ComputeInstance uint32
	// Name is what nvmlSystemGetProcessName says; "": not found.
	Name string
}

// AllDevices in a [Behavior] means calls about any device, and those about none.
const AllDevices = -1

// Behavior is what a function does instead of its work ([Fail], [Hang], [Segfault], [Abort]), or before it ([Sleep],
// [Garbage]).
type Behavior struct {
	// Function is the C function's name; "*" at its end stands for any rest.
	Function string
	// Device is the index of the device that the call must be about, or AllDevices.
	Device int
	// After is the number of such calls that go well first.
	After  int
	Action Action
}

// Action is something that a function does.
type Action struct {
	name string
	arg  int
}

// The actions without an argument. Garbage fills the whole buffer of a function that gives a string with bytes other
// than NUL.
var (
	Hang     = Action{name: "hang"}
	Segfault = Action{name: "segfault"}
	Abort    = Action{name: "abort"}
	Garbage  = Action{name: "garbage"}
)

// Fail returns an nvmlReturn_t at once. With 0 the function claims success without having written anything.
func Fail(code int) Action { return Action{"return", code} }

// Sleep delays the work.
func Sleep(milliseconds int) Action { return Action{"sleep", milliseconds} }

// With is the machine with more behaviors.
func (m Machine) With(behaviors ...Behavior) Machine {
	m.Behaviors = append(slices.Clip(m.Behaviors), behaviors...)
	return m
}

// Without is the machine with a library that lacks functions.
func (m Machine) Without(functions ...string) Machine {
	m.Missing = append(slices.Clip(m.Missing), functions...)
	return m
}

// WithDevice is the machine with device i changed.
func (m Machine) WithDevice(i int, change func(*Device)) Machine {
	m.Devices = slices.Clone(m.Devices)
	change(&m.Devices[i])
	return m
}

// encode writes what testdata/conf.c reads.
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
		line("rule %s %d %d %s %d", r.Function, r.Device, r.After, r.Action.name, r.Action.arg)
	}
	for _, d := range m.Devices {
		d.encode(line)
	}
	for _, e := range m.Events {
		line("event %d %d %d %d %d %d", e.Device, e.Type, e.Data, e.GPUInstance, e.ComputeInstance, max(e.Count, 1))
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
	line("compute_mode %d", d.ComputeMode)
	line("mig %d %d %d", number(d.MIGCapable), number(d.MIG), number(d.MIGPending))
	line("process_growth %d", d.ProcessGrowth)
	line("cpus %s", hexWords(d.CPUs))
	line("event_types %d", d.EventTypes)
	d.Health.encode(line)
	for _, p := range d.Processes {
		line("process %d %d %d %d %s", p.PID, p.Used, p.GPUInstance, p.ComputeInstance, escape(p.Name))
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

// escape writes bytes that would break a line, or the escaping, as %XX.
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
