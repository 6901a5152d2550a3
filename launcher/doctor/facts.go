package doctor

import (
	"io/fs"

	"github.com/gpulaunch/gpulaunch/affinity"
	"github.com/gpulaunch/gpulaunch/gpu"
	"github.com/gpulaunch/gpulaunch/launcher/plan"
)

// Given is what only the caller knows.
type Given struct {
	// Root is the folder that holds proc, dev and sys; "" is the live machine.
	Root string
	// Environ is the environment that a job would inherit.
	Environ []string

	Inventory gpu.Inventory
	// Visible is the inventory as CUDA_VISIBLE_DEVICES restricts it.
	Visible gpu.Visible
	// Library is the NVML file that the user named, "" if it was looked for.
	Library string
	// NoNVML is set by a build that leaves NVML out.
	NoNVML bool
	// Hung says that NVML was waited for in vain. Otherwise it answered, or failed at once.
	Hung bool

	// Metrics says where Prometheus would be told.
	Metrics Metrics
	// Plan is what would be started, unless PlanErr says why nothing would be.
	Plan    plan.Plan
	PlanErr error
}

// Metrics is an address that was tried out.
type Metrics struct {
	// Address is a host and a port; "" means that metrics are off.
	Address string
	// Chosen says that the user has named the address. Then a job does not start without it.
	Chosen bool
	// Err is why it cannot be listened on.
	Err error
}

// Facts is all that is judged. An error beside a fact says that the fact is not known.
type Facts struct {
	Given

	// DriverPresent reports whether there is any trace of a driver, WSL whether it is the stand-in of WSL.
	DriverPresent, WSL bool
	// OnBus are the PCI addresses of NVIDIA's GPUs, driver or not.
	OnBus    []string
	OnBusErr error
	// Module is the version of the loaded kernel module.
	Module    string
	ModuleErr error
	Files     []DeviceFile

	Topology    *affinity.Topology
	TopologyErr error
	// Localities are by the GPUs' Index.
	Localities map[int]affinity.Locality
	// Quota is in CPUs; 0 is no limit.
	Quota    float64
	QuotaErr error
	NICs     []affinity.NIC
	NICsErr  error

	Kernel    string // "6.1.0-18-amd64"
	KernelErr error
	PidfdErr  error
	Cgroup    plan.CgroupPlace

	Python    string // the interpreter's path
	PythonErr error
	Temporary Temporary

	LockedMemory, OpenFiles, Processes Limit
	SharedMemory                       Filesystem
}

// DeviceFile is a file that CUDA has to open.
type DeviceFile struct {
	Path string
	// Access is why this user cannot read and write it.
	Access error
	// Mode and Group help to say what to do about it.
	Mode  fs.FileMode
	Group string
}

// Limit is a resource limit (setrlimit(2)), in bytes or in pieces.
type Limit struct {
	Soft, Hard uint64
	Err        error
}

// Unlimited is a Limit's value for none (RLIM_INFINITY).
const Unlimited = ^uint64(0)

// Filesystem is what statfs(2) says.
type Filesystem struct {
	// Memory is true for a tmpfs.
	Memory            bool
	SizeBytes, Unused uint64 // Unused counts what users without privileges may take
	Err               error
}

// Temporary is the folder for temporary files.
type Temporary struct {
	Folder string
	// Err is why no private folder can be made in it.
	Err  error
	Disk Filesystem
}

// admitted reports whether CUDA_VISIBLE_DEVICES admits a GPU, broken or not.
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

// byNVML reports whether there are GPUs and NVML has told of them. Otherwise results say why there is nothing to check:
// what is about GPUs that nobody can ask is not known, and of no GPUs there is nothing to say.
func (f Facts) byNVML(what string) (ok bool, otherwise []Result) {
	if f.Inventory.Source == gpu.SourceNVML && len(f.Inventory.Devices) > 0 {
		return true, nil
	}
	if f.gpuless() {
		return false, nil
	}
	return false, one(untold("%s: only NVML tells, and it is not in use", what))
}

// gpuless is a machine for which nothing speaks of a GPU.
func (f Facts) gpuless() bool {
	return f.Inventory.Source == gpu.SourceNone && !f.DriverPresent && f.Library == ""
}
