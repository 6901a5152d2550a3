package doctor

import (
	"io/fs"

	"github.com/gpulaunch/gpulaunch/affinity"
	"github.com/gpulaunch/gpulaunch/gpu"
	"github.com/gpulaunch/gpulaunch/launcher/plan"
)

// Given holds the facts that the caller passes to [Gather].
type Given struct {
	// Root is the folder that holds proc, dev and sys. It is "" for the live machine.
	Root string
	// Environ is the environment that a job would inherit.
	Environ []string

	Inventory gpu.Inventory
	// Visible is the inventory as CUDA_VISIBLE_DEVICES restricts it.
	Visible gpu.Visible
	// Library is the NVML file that the user named, or "" if it was searched for.
	Library string
	// NoNVML is true in a build without NVML.
	NoNVML bool
	// Hung is true if NVML did not answer in time. Otherwise it answered, or failed at once.
	Hung bool

	// Metrics is the address at which a job would serve metrics.
	Metrics Metrics
	// Plan is what a job would start, unless PlanErr says why it would not start.
	Plan    plan.Plan
	PlanErr error
	// Python is the path of the interpreter that a job would use, unless PythonErr says why
	// there is none.
	Python    string
	PythonErr error
}

// Metrics is an address on which the caller has tried to listen.
type Metrics struct {
	// Address is a host and a port, or "" if metrics are off.
	Address string
	// Chosen is true if the user named the address. Then a job does not start without it.
	Chosen bool
	// Err says why the address cannot be listened on.
	Err error
}

// Facts holds all that [Examine] judges. An error beside a fact means that the fact is not known.
type Facts struct {
	Given

	// DriverPresent is true if there is any trace of a driver, WSL if it is the one of the Windows
	// Subsystem for Linux.
	DriverPresent, WSL bool
	// OnBus lists the PCI addresses of NVIDIA's GPUs, with or without a driver.
	OnBus    []string
	OnBusErr error
	// Module is the version of the loaded kernel module.
	Module    string
	ModuleErr error
	Files     []DeviceFile

	Topology    *affinity.Topology
	TopologyErr error
	// Localities has the Index of a GPU as its key.
	Localities map[int]affinity.Locality
	// Quota is a number of CPUs, or 0 if there is no limit.
	Quota    float64
	QuotaErr error
	NICs     []affinity.NIC
	NICsErr  error

	Kernel    string // "6.1.0-18-amd64"
	KernelErr error
	PidfdErr  error
	Cgroup    plan.CgroupPlace
	// Abandoned are control groups of jobs whose launcher was killed, each with its number of
	// processes.
	Abandoned []string

	Temporary Temporary

	LockedMemory, OpenFiles, Processes Limit
	SharedMemory                       Filesystem
}

// DeviceFile is a file that CUDA has to open.
type DeviceFile struct {
	Path string
	// Access says why this user cannot read and write the file.
	Access error
	// Mode and Group are needed to say what to do about that.
	Mode  fs.FileMode
	Group string
}

// Limit is a resource limit (setrlimit(2)), a number of bytes, files or processes.
type Limit struct {
	Soft, Hard uint64
	Err        error
}

// Unlimited is the value in a Limit that stands for no limit (RLIM_INFINITY).
const Unlimited = ^uint64(0)

// Filesystem is what statfs(2) reports.
type Filesystem struct {
	// Memory is true for a tmpfs.
	Memory bool
	// Unused counts the bytes that users without privileges may use.
	SizeBytes, Unused uint64
	Err               error
}

// Temporary is the folder for temporary files.
type Temporary struct {
	Folder string
	// Err says why no private folder can be created in it.
	Err  error
	Disk Filesystem
}

// admitted reports whether CUDA_VISIBLE_DEVICES admits a GPU, whether or not it is usable.
func (f Facts) admitted(d gpu.Device) bool {
	for _, u := range f.Visible.Units {
		if u.Device.Index == d.Index {
			return true
		}
	}
	for _, other := range f.Visible.Unusable {
		if other.Index == d.Index {
			return true
		}
	}
	return false
}

// askedNVML reports whether NVML was asked about GPUs. Otherwise it also returns the results of a
// check for which that is necessary: unknown if there may be GPUs, and none if there are no GPUs.
func (f Facts) askedNVML(what string) (answer []Result, asked bool) {
	if f.Inventory.Source == gpu.SourceNVML && len(f.Inventory.Devices) > 0 {
		return nil, true
	}
	if f.gpuless() {
		return nil, false
	}
	return unknown("%s: only NVML reports that, and it is not in use", what), false
}

// gpuless reports whether there is no trace of a GPU on the machine.
func (f Facts) gpuless() bool {
	return f.Inventory.Source == gpu.SourceNone && !f.DriverPresent && f.Library == ""
}

// integrated reports whether the GPU is the one of a Tegra, about which neither NVML nor the
// driver's files say anything. It was found by its device file.
func (f Facts) integrated() bool { return f.Inventory.Source == gpu.SourceIntegrated }
