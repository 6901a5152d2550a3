package gpu

import "fmt"

// The sources of an inventory.
const (
	// SourceNVML is NVIDIA's management library, libnvidia-ml.so.1.
	SourceNVML = "nvml"
	// SourceDriver stands for the kernel driver's files in /proc/driver/nvidia.
	SourceDriver = "driver"
	// SourceIntegrated stands for the device files of the GPU that is part of an NVIDIA Tegra, as
	// on a Jetson. It is the source where NVML does not report that GPU.
	SourceIntegrated = "integrated"
	// SourceNone means that there is no GPU, or that none could be found.
	SourceNone = "none"
)

// Inventory lists the machine's GPUs and says where that knowledge comes from.
type Inventory struct {
	// Source is SourceNVML, SourceDriver, SourceIntegrated or SourceNone.
	Source string `json:"source"`
	// Reason is one line that says why it is this source.
	Reason string `json:"reason"`
	// DriverVersion is the version of the kernel driver, for example "550.54.15".
	DriverVersion string `json:"driver_version,omitempty"`
	// NVMLVersion is the version of the library, for example "12.550.54.15".
	NVMLVersion string `json:"nvml_version,omitempty"`
	// CUDAVersion is the newest CUDA that the driver supports, for example "12.4".
	CUDAVersion string `json:"cuda_version,omitempty"`
	// Library is the file that NVML was loaded from.
	Library string `json:"library,omitempty"`
	// LibraryProblem says why a library that the user named could not be loaded. It is "" if it
	// was loaded, and if none was named.
	LibraryProblem string `json:"library_problem,omitempty"`
	// Devices are in the order of their PCI addresses. If there are none, it is empty and not
	// nil.
	Devices []Device `json:"devices"`
}

// Device is one GPU.
type Device struct {
	// Index counts the machine's GPUs in PCI order, from 0.
	Index int `json:"index"`
	// UUID is "GPU-…", or "" if it is unknown.
	UUID string `json:"uuid"`
	Name string `json:"name"`
	// PCIBusID is the address as sysfs writes it, "0000:1b:00.0", or "" if it is unknown.
	PCIBusID string `json:"pci_bus_id"`
	// Minor is the number in /dev/nvidia<number>, or nil if it is unknown.
	Minor *int `json:"minor_number,omitempty"`
	// Integrated is true for the GPU of SourceIntegrated. It has no UUID and no PCI address, and
	// CUDA finds it without being told which one to use.
	Integrated bool `json:"integrated,omitempty"`
	// MemoryTotalBytes is 0 if it is unknown. Only NVML knows it.
	MemoryTotalBytes uint64 `json:"memory_total_bytes,omitempty"`
	// Cores is the number of CUDA cores, and MaxClockMHz their highest frequency. They are 0 if
	// they are unknown. NVML is asked for them only if the machine's GPUs are not all alike.
	Cores       int `json:"cuda_cores,omitempty"`
	MaxClockMHz int `json:"max_sm_clock_mhz,omitempty"`
	// CPUAffinity is the set of CPUs on the GPU's NUMA node, in the kernel's list format
	// ("0-15,64-79"). It is "" if it is unknown. Only NVML knows it.
	CPUAffinity string `json:"cpu_affinity,omitempty"`
	// ComputeMode is NVML's name for the rule who may use the GPU, for example "default" or
	// "exclusive-process".
	ComputeMode string `json:"compute_mode,omitempty"`
	// ECC says whether memory errors are corrected, and Persistence whether the driver keeps the
	// GPU initialized while no process uses it. Nil means unknown.
	ECC         *bool `json:"ecc_enabled,omitempty"`
	Persistence *bool `json:"persistence_mode,omitempty"`
	// MIG is true if the GPU is in MIG mode. Processes can then use only its instances.
	MIG bool `json:"mig_enabled"`
	// MIGInstances are in NVML's order.
	MIGInstances []MIGInstance `json:"mig_instances,omitempty"`
	// Processes are those that computed on the GPU or one of its MIG instances when the inventory
	// was made. Only NVML knows them.
	Processes []Process `json:"processes,omitempty"`
	// Problem says why no worker can use the GPU. It is "" if a worker can.
	Problem string `json:"problem,omitempty"`
	// Findings are what is wrong with the GPU's health, whether it is usable or not.
	Findings []Finding `json:"findings,omitempty"`
}

// Label returns the GPU's name for messages, "GPU 3 (0000:1b:00.0)", or "GPU 3" if its address
// is unknown.
func (d Device) Label() string {
	if d.PCIBusID == "" {
		return fmt.Sprintf("GPU %d", d.Index)
	}
	return fmt.Sprintf("GPU %d (%s)", d.Index, d.PCIBusID)
}

// Usable reports whether a worker can use the GPU or one of its MIG instances.
func (d Device) Usable() bool { return d.Problem == "" }

// MIGInstance is one compute instance of a GPU in MIG mode. A worker sees it as a GPU.
type MIGInstance struct {
	// UUID is "MIG-<uuid>" or, with drivers before R470,
	// "MIG-GPU-<uuid>/<gpu instance>/<compute instance>".
	UUID string `json:"uuid"`
	Name string `json:"name,omitempty"`
	// Profile is the kind of instance, for example "3g.40gb", or "" if it is unknown.
	Profile string `json:"profile,omitempty"`
	// MemoryTotalBytes is 0 if it is unknown.
	MemoryTotalBytes uint64 `json:"memory_total_bytes,omitempty"`
	// GPUInstance and ComputeInstance are the ids in the older form of the UUID, or nil if they
	// are unknown.
	GPUInstance     *int `json:"gpu_instance_id,omitempty"`
	ComputeInstance *int `json:"compute_instance_id,omitempty"`
}

// ProblemNoInstance is the Problem of a GPU that is in MIG mode and has no instance.
const ProblemNoInstance = "MIG is enabled but no instance exists"
