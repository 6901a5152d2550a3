package gpu

import "fmt"

// Where an inventory can come from.
const (
	// SourceNVML is NVIDIA's management library, libnvidia-ml.so.1.
	SourceNVML = "nvml"
	// SourceDriver is the kernel driver's files under /proc/driver/nvidia.
	SourceDriver = "driver"
	// SourceNone means that there is no GPU, or none that could be found.
	SourceNone = "none"
)

// Inventory is the machine's GPUs and where the knowledge of them comes from.
type Inventory struct {
	// Source is SourceNVML, SourceDriver or SourceNone.
	Source string `json:"source"`
	// Reason is one line that says why it is this source.
	Reason string `json:"reason"`
	// DriverVersion is the kernel driver's, for example "550.54.15".
	DriverVersion string `json:"driver_version,omitempty"`
	// NVMLVersion is the library's, for example "12.550.54.15".
	NVMLVersion string `json:"nvml_version,omitempty"`
	// CUDAVersion is the newest CUDA that the driver supports, for example "12.4".
	CUDAVersion string `json:"cuda_version,omitempty"`
	// Library is the file that NVML was loaded from.
	Library string `json:"library,omitempty"`
	// Devices are in the order of their PCI addresses. It is empty, not nil, when there are none.
	Devices []Device `json:"devices"`
}

// Device is one GPU.
type Device struct {
	// Index counts the machine's GPUs in PCI order, from 0.
	Index int `json:"index"`
	// UUID is "GPU-…", or "" when nobody could say.
	UUID string `json:"uuid"`
	Name string `json:"name"`
	// PCIBusID is the address as sysfs writes it, "0000:1b:00.0", or "" when nobody could say.
	PCIBusID string `json:"pci_bus_id"`
	// Minor is the N of /dev/nvidiaN. Nil when unknown.
	Minor *int `json:"minor_number,omitempty"`
	// MemoryTotalBytes is 0 when unknown: only NVML says.
	MemoryTotalBytes uint64 `json:"memory_total_bytes,omitempty"`
	// CPUAffinity is NVML's opinion of the CPUs in the GPU's NUMA node, in the kernel's list format ("0-15,64-79").
	// It is "" on the driver's files, and where NVML does not say.
	CPUAffinity string `json:"cpu_affinity,omitempty"`
	// ComputeMode is NVML's name for who may open the GPU, for example "default" or "exclusive-process".
	ComputeMode string `json:"compute_mode,omitempty"`
	// ECC and Persistence say whether memory errors are corrected, and whether the driver keeps the GPU initialized while
	// nobody uses it. Nil when unknown.
	ECC         *bool `json:"ecc_enabled,omitempty"`
	Persistence *bool `json:"persistence_mode,omitempty"`
	// MIG is true when the GPU is split into instances, in which case nobody can use it as a whole.
	MIG bool `json:"mig_enabled"`
	// MIGInstances are the parts, in NVML's order.
	MIGInstances []MIGInstance `json:"mig_instances,omitempty"`
	// Processes compute on it, or on one of its MIG instances, at the moment of the inventory. Only NVML says.
	Processes []Process `json:"processes,omitempty"`
	// Problem says why no worker can use this GPU. A healthy one has none.
	Problem string `json:"problem,omitempty"`
	// Findings are what is wrong with its health, usable or not. What the card or the driver does not tell is not found.
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

// Usable reports whether a worker can be given this GPU, or one of its MIG instances.
func (d Device) Usable() bool { return d.Problem == "" }

// MIGInstance is one compute instance of a GPU in MIG mode. A worker sees it as a GPU of its own.
type MIGInstance struct {
	// UUID is "MIG-<uuid>", or "MIG-GPU-<uuid>/<gpu instance>/<compute instance>" on drivers before R470.
	UUID string `json:"uuid"`
	Name string `json:"name,omitempty"`
	// Profile is what it was cut out as, "3g.40gb", or "" when unknown.
	Profile string `json:"profile,omitempty"`
	// MemoryTotalBytes is 0 when unknown.
	MemoryTotalBytes uint64 `json:"memory_total_bytes,omitempty"`
	// GPUInstance and ComputeInstance are the ids that legacy MIG names are made of. Nil when unknown.
	GPUInstance     *int `json:"gpu_instance_id,omitempty"`
	ComputeInstance *int `json:"compute_instance_id,omitempty"`
}

// ProblemNoInstance is the Problem of a GPU that is set up to be split, and is not split.
const ProblemNoInstance = "MIG is enabled but no instance exists"
