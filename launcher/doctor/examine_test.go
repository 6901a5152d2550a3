package doctor

import (
	"errors"
	"io/fs"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/gpulaunch/gpulaunch/affinity"
	"github.com/gpulaunch/gpulaunch/gpu"
	"github.com/gpulaunch/gpulaunch/launcher/plan"
)

// errUnreadable is an error that says nothing about a fact.
var errUnreadable = errors.New("input/output error")

// healthy returns a machine with two GPUs on two NUMA nodes and without any problem.
func healthy() Facts {
	zero, one, on := 0, 1, true
	gpus := []gpu.Device{
		{Index: 0, PCIBusID: "0000:1b:00.0", UUID: "GPU-0", Minor: &zero, ComputeMode: "default",
			Persistence: &on},
		{Index: 1, PCIBusID: "0000:43:00.0", UUID: "GPU-1", Minor: &one, ComputeMode: "default",
			Persistence: &on},
	}
	f := Facts{
		Given: Given{
			Inventory: gpu.Inventory{Source: gpu.SourceNVML, Reason: "NVML 12.550.54.15",
				NVMLVersion: "12.550.54.15", DriverVersion: "550.54.15", CUDAVersion: "12.4",
				Devices: gpus},
			Metrics: Metrics{Address: "127.0.0.1:9750"},
			Python:  "/usr/bin/python3",
			Plan: plan.Plan{Mode: plan.ModeGPU, Reason: "because",
				Workers: []plan.Worker{{Device: &plan.Device{UUID: "GPU-0"}},
					{Rank: 1, Device: &plan.Device{Index: 1, UUID: "GPU-1"}}}},
		},
		DriverPresent: true, Module: "550.54.15",
		Files: []DeviceFile{{Path: "/dev/nvidiactl"}, {Path: "/dev/nvidia0"},
			{Path: "/dev/nvidia1"}},
		Topology: &affinity.Topology{
			Online: affinity.CPUs(0, 1, 2, 3), Allowed: affinity.CPUs(0, 1, 2, 3),
			Cores: make([]affinity.Core, 4),
			Nodes: []affinity.Node{{ID: 0, CPUs: affinity.CPUs(0, 1)},
				{ID: 1, CPUs: affinity.CPUs(2, 3)}},
		},
		Localities: map[int]affinity.Locality{0: {NUMANode: 0}, 1: {NUMANode: 1}},
		Kernel:     "6.1.0-18-amd64", Cgroup: plan.CgroupPlace{Parent: "/sys/fs/cgroup/x"},
		Temporary: Temporary{Folder: "/tmp", Disk: Filesystem{SizeBytes: 1 << 40,
			Unused: 1 << 40}},
		LockedMemory: Limit{Soft: Unlimited, Hard: Unlimited}, OpenFiles: Limit{Soft: 65536,
			Hard: 65536}, Processes: Limit{Soft: Unlimited, Hard: Unlimited},
		SharedMemory: Filesystem{Memory: true, SizeBytes: 1 << 34, Unused: 1 << 34},
	}
	f.Visible = f.Inventory.Visible("", false)
	return f
}

// gpuless returns a machine without a trace of a GPU.
func gpuless() Facts {
	f := healthy()
	f.Inventory = gpu.Inventory{Source: gpu.SourceNone, Reason: "no NVIDIA driver is loaded",
		Devices: []gpu.Device{}}
	f.Visible, f.DriverPresent, f.Module, f.ModuleErr, f.Files = gpu.Visible{}, false, "",
		fs.ErrNotExist, nil
	return f
}

// setVisible applies a value of CUDA_VISIBLE_DEVICES to the GPUs.
func (f *Facts) setVisible(value string, set bool) { f.Visible = f.Inventory.Visible(value, set) }

func TestHealthyMachines(t *testing.T) {
	for name, f := range map[string]Facts{"two GPUs": healthy(), "no GPU": gpuless()} {
		results := Examine(f)
		for _, r := range results {
			if r.Status != OK || r.Found == "" {
				t.Errorf("%s: %+v", name, r)
			}
		}
		if !Ready(results) {
			t.Errorf("%s: not ready", name)
		}
	}
	answered := map[string]bool{}
	for _, r := range Examine(healthy()) {
		answered[r.Check] = true
	}
	for _, c := range checks {
		if !answered[c.name] {
			t.Errorf("%s has no result for a healthy machine", c.name)
		}
	}
}

// examineCase changes a healthy machine. Only the check that the change is about may then have
// another status than before.
type examineCase struct {
	name, check string
	change      func(*Facts)
	status      Status
	found       string
	also        []string // other checks whose status may change
}

// errGone is the error for a file that does not exist.
var errGone = &fs.PathError{Op: "access", Path: "x", Err: syscall.ENOENT}

// environ sets the environment.
func environ(entries ...string) func(*Facts) {
	return func(f *Facts) { f.Environ = entries }
}

// firstGPU changes the first GPU.
func firstGPU(change func(*gpu.Device)) func(*Facts) {
	return func(f *Facts) {
		f.Inventory.Devices = slices.Clone(f.Inventory.Devices)
		change(&f.Inventory.Devices[0])
		f.setVisible("", false)
	}
}

// withoutFirst changes the first GPU, and the plan does without it.
func withoutFirst(change func(*gpu.Device)) func(*Facts) {
	return func(f *Facts) { firstGPU(change)(f); f.Plan.Workers = f.Plan.Workers[1:] }
}

// versionOf sets the version of the kernel module and that of NVML.
func versionOf(module, library string) func(*Facts) {
	return func(f *Facts) { f.Module, f.Inventory.NVMLVersion = module, library }
}

// hiddenGPU changes the first GPU and hides it with CUDA_VISIBLE_DEVICES.
func hiddenGPU(change func(*gpu.Device)) func(*Facts) {
	return func(f *Facts) { firstGPU(change)(f); f.setVisible("1", true) }
}

// lost makes a GPU one that is lost.
func lost(d *gpu.Device) {
	d.Problem, d.Findings = "GPU is lost",
		[]gpu.Finding{{Code: gpu.CodeLost, Text: "GPU is lost", Remedy: "power-cycle"}}
}

// finding adds a finding to the first GPU.
func finding(code string) func(*Facts) {
	return firstGPU(func(d *gpu.Device) {
		d.Findings = []gpu.Finding{{Code: code, Text: "sick", Remedy: "reset"}}
	})
}

var driverCases = []examineCase{
	{"hang", "discovery", func(f *Facts) { f.Hung = true }, Fail, "the driver hangs: ", nil},
	{"driver's files", "discovery", func(f *Facts) { f.Inventory.Source = gpu.SourceDriver },
		Fail, "NVML 12", []string{"health", "mig", "busy", "persistence", "compute-mode"}},
	{"driver's files in a build without NVML", "discovery", func(f *Facts) {
		f.Inventory.Source, f.NoNVML = gpu.SourceDriver, true
	}, OK, "2 GPUs", []string{"health", "mig", "busy", "persistence", "compute-mode"}},
	{"a named library that fails", "discovery", func(f *Facts) {
		*f = gpuless()
		f.Library = "/x"
	}, Fail, "no NVIDIA driver", []string{"versions", "health", "mig", "busy", "persistence",
		"compute-mode", "locality", "device-files"}},
	{"a named library that cannot be loaded", "discovery", func(f *Facts) {
		f.Inventory.Source, f.Library = gpu.SourceDriver, "/x"
		f.Inventory.LibraryProblem = "no such file: /x"
	}, Fail, "cannot be used: no such file: /x", []string{"health", "mig", "busy", "persistence",
		"compute-mode"}},
	{"integrated GPU", "discovery", func(f *Facts) {
		*f = gpuless()
		f.Inventory = gpu.Inventory{Source: gpu.SourceIntegrated, Reason: "using the integrated GPU",
			Devices: []gpu.Device{{Name: "NVIDIA Jetson", Integrated: true}}}
		f.Localities = map[int]affinity.Locality{0: {NUMANode: 0}}
		f.setVisible("", false)
	}, OK, "1 GPU: using the integrated GPU", []string{"health", "mig", "busy", "persistence",
		"compute-mode"}},
	{"cards without driver", "discovery", func(f *Facts) {
		*f = gpuless()
		f.OnBus = []string{"0000:1b:00.0"}
	}, Fail, "at 0000:1b:00.0", gpuChecks},
	{"bus unreadable", "discovery", func(f *Facts) { *f = gpuless(); f.OnBusErr = errUnreadable },
		Unknown, "input/output", gpuChecks},

	{"mismatch", "versions", func(f *Facts) { f.Module = "550.90.07" }, Fail,
		"driver 550.90.07, but the library is from 12.550.54.15", nil},
	{"no module file", "versions", func(f *Facts) { f.Module, f.ModuleErr = "", errGone }, OK,
		"550.54.15", nil},
	{"module unreadable", "versions", func(f *Facts) { f.Module, f.ModuleErr = "", errUnreadable },
		Unknown, "input/output", nil},
	{"library unknown", "versions", func(f *Facts) { f.Inventory.NVMLVersion = "" }, Unknown,
		"NVML unknown", nil},
	{"shortened by NVML", "versions", versionOf("580.65.06", "13.580.65"), OK, "580.65.06", nil},
	{"shortened, and without CUDA's", "versions", versionOf("580.65.06", "580.65"), OK,
		"580.65.06", nil},
	{"without CUDA's", "versions", versionOf("580.65.06", "580.65.06"), OK, "580.65.06", nil},
	{"shortened, of another driver", "versions", versionOf("580.65.06", "13.580.6"), Fail,
		"the library is from 13.580.6", nil},
	{"shortened to nothing", "versions", versionOf("580.65.06", "580"), Fail, "from 580", nil},
	{"WSL", "versions", func(f *Facts) { f.WSL, f.Module = true, "1.2" }, OK, "1.2", nil},

	{"no access", "device-files", func(f *Facts) {
		f.Files = []DeviceFile{{Path: "/dev/nvidia0", Access: syscall.EACCES, Mode: 0o660,
			Group: "video"}}
	}, Fail, "/dev/nvidia0 cannot be read and written by this user: mode 0660, group video",
		nil},
	{"not made", "device-files", func(f *Facts) {
		f.Files = append(f.Files, DeviceFile{Path: "/dev/nvidia-uvm", Access: errGone})
	}, Warn, "/dev/nvidia-uvm: not there", nil},
	{"odd", "device-files", func(f *Facts) { f.Files[0].Access = syscall.EIO }, Unknown,
		"/dev/nvidiactl", nil},
	{"minor unknown", "device-files", firstGPU(func(d *gpu.Device) { d.Minor = nil }), Unknown,
		"1 GPU is not known", nil},
}

var gpuCases = []examineCase{
	{"lost", "health", firstGPU(lost), Fail, "GPU 0 (0000:1b:00.0): GPU is lost",
		[]string{"locality"}},
	{"one lost of two", "health", withoutFirst(lost), Warn,
		"GPU 0 (0000:1b:00.0): GPU is lost (a job would do without it)", []string{"locality"}},
	{"one without permission", "health", withoutFirst(func(d *gpu.Device) {
		d.Problem = "no permission (code 4)"
	}), Warn, "no permission (code 4) (a job would do without it)", []string{"locality"}},
	{"the only ones are lost", "health", func(f *Facts) {
		firstGPU(lost)(f)
		lost(&f.Inventory.Devices[1])
		f.Plan = plan.Plan{Mode: plan.ModeCPU, Workers: make([]plan.Worker, 2)}
		f.setVisible("", false)
	}, Fail, "GPU 1 (0000:43:00.0): GPU is lost", []string{"locality"}},
	{"skipped because of a variable", "health", func(f *Facts) {
		finding(gpu.CodeECCUncorrected)(f)
		f.Plan.Workers = f.Plan.Workers[1:]
	}, Warn, "sick (a job would do without it)", nil},
	{"no job would start", "health", func(f *Facts) {
		withoutFirst(lost)(f)
		f.PlanErr = errUnreadable
	}, Fail, "GPU is lost", []string{"locality", "plan"}},
	{"lost but hidden", "health", hiddenGPU(lost), Warn, "leaves it out",
		[]string{"visible-devices"}},
	{"ECC", "health", finding(gpu.CodeECCUncorrected), Fail, "sick", nil},
	{"remap pending", "health", finding(gpu.CodeRowRemapPending), Warn, "sick", nil},
	{"retired pages", "health", finding(gpu.CodeRetiredPagesPending), Warn, "sick", nil},
	{"no spare rows", "health", finding(gpu.CodeSpareRowsExhausted), Warn, "sick", nil},
	{"less of the fabric", "health", finding(gpu.CodeFabricLimited), Warn, "sick", nil},
	{"slow", "health", finding(gpu.CodeHardwareSlowdown), Warn, "sick", nil},
	{"SRAM", "health", finding(gpu.CodeSRAMThreshold), Fail, "sick", nil},
	{"fabric", "health", finding(gpu.CodeFabricNotReady), Fail, "sick", nil},
	{"lost, and its file unknown", "health",
		firstGPU(func(d *gpu.Device) { lost(d); d.Minor = nil }), Fail, "lost", nil},
	{"problem alone", "health", firstGPU(func(d *gpu.Device) { d.Problem = "odd" }), Fail,
		"not usable: odd", nil},

	{"MIG", "mig", firstGPU(func(d *gpu.Device) {
		d.MIG, d.MIGInstances = true, []gpu.MIGInstance{{UUID: "MIG-1"}}
	}), OK, "1 instance on 1 GPU", nil},
	{"MIG without instances", "mig", firstGPU(func(d *gpu.Device) {
		d.MIG, d.Problem = true, "no instance"
	}), Fail, "there is no instance", nil},
	{"the same, and others do", "mig", withoutFirst(func(d *gpu.Device) {
		d.MIG, d.Problem = true, "no instance"
	}), Warn, "there is no instance (a job would do without it)", nil},
	{"the same, hidden", "mig", hiddenGPU(func(d *gpu.Device) {
		d.MIG, d.Problem = true, "no instance"
	}), Warn, "there is no instance", []string{"visible-devices"}},

	{"busy", "busy", firstGPU(func(d *gpu.Device) {
		d.Processes = append([]gpu.Process{{PID: 42, User: "alice", Command: "python3",
			MemoryBytes: 3 << 29, MemoryKnown: true}}, make([]gpu.Process, 5)...)
	}), Warn, "pid 42 (alice, python3, 1.5 GiB), pid 0, pid 0, pid 0, and 2 more", nil},
	{"busy but hidden", "busy", hiddenGPU(func(d *gpu.Device) {
		d.Processes = []gpu.Process{{PID: 42}}
	}), OK, "nobody", []string{"visible-devices"}},
	{"persistence off", "persistence", firstGPU(func(d *gpu.Device) { d.Persistence = new(bool) }),
		Warn, "off on GPU 0", nil},
	{"persistence unknown", "persistence", firstGPU(func(d *gpu.Device) { d.Persistence = nil }),
		Unknown, "GPU 0", nil},
	{"exclusive", "compute-mode", firstGPU(func(d *gpu.Device) {
		d.ComputeMode = "exclusive-process"
	}), Warn, "exclusive-process", nil},
	{"mode unknown", "compute-mode", firstGPU(func(d *gpu.Device) { d.ComputeMode = "" }), Unknown,
		"GPU 0", nil},
}

var cpuCases = []examineCase{
	{"no topology", "topology", func(f *Facts) { f.Topology, f.TopologyErr = nil, errUnreadable },
		Fail, "input/output", []string{"allowed", "locality"}},
	{"allowed unknown", "allowed", func(f *Facts) { f.Topology.Allowed = affinity.CPUSet{} },
		Unknown, "not known", []string{"locality"}},
	{"few CPUs", "allowed", func(f *Facts) { f.Topology.Allowed = affinity.CPUs(0, 2) }, Warn,
		"only 2 CPUs of 4 may be used: 0,2", nil},
	{"quota", "quota", func(f *Facts) { f.Quota = 2.5 }, Warn, "2.5 CPUs, though 4", nil},
	{"enough quota", "quota", func(f *Facts) { f.Quota = 4 }, OK, "4 CPUs, and 4", nil},
	{"quota unreadable", "quota", func(f *Facts) { f.QuotaErr = errUnreadable }, Unknown,
		"input/output", nil},
	{"node unknown", "locality", func(f *Facts) {
		f.Localities[1] = affinity.Locality{NUMANode: -1}
	}, Warn, "near GPU 1", nil},
	{"node told by NVML", "locality", func(f *Facts) {
		f.Localities[1] = affinity.Locality{NUMANode: -1, Reported: affinity.CPUs(3)}
	}, OK, "known", nil},
	{"node not allowed", "locality", func(f *Facts) {
		f.Topology.Allowed = affinity.CPUs(0, 1)
	}, Warn, "none of its CPUs 2-3", []string{"allowed"}},
	{"one node", "locality", func(f *Facts) {
		f.Topology.Nodes = []affinity.Node{{CPUs: f.Topology.Online}}
		f.Localities = nil
	}, OK, "one NUMA node", nil},
}

var systemCases = []examineCase{
	{"old kernel", "kernel", func(f *Facts) { f.Kernel = "5.3.18-default" }, Fail, "5.3.18",
		nil},
	{"very old kernel", "kernel", func(f *Facts) { f.Kernel = "4.18.0-553.el8" }, Fail, "4.18",
		nil},
	{"just new enough", "kernel", func(f *Facts) { f.Kernel = "5.4.0" }, OK, "5.4.0", nil},
	{"odd kernel", "kernel", func(f *Facts) { f.Kernel = "odd" }, Unknown, "odd", nil},
	{"no uname", "kernel", func(f *Facts) { f.KernelErr = errUnreadable }, Unknown, "input/output",
		nil},
	{"no pidfds", "pidfd", func(f *Facts) { f.PidfdErr = syscall.ENOSYS }, Warn,
		"not implemented", nil},
	{"pidfds forbidden", "pidfd", func(f *Facts) { f.PidfdErr = syscall.EPERM }, Warn,
		"not permitted", nil},
	{"pidfds untried", "pidfd", func(f *Facts) { f.PidfdErr = syscall.EMFILE }, Unknown,
		"too many open files", nil},
	{"no cgroup", "cgroup", func(f *Facts) { f.Cgroup = plan.CgroupPlace{Reason: "read-only"} },
		Warn, "read-only", nil},
	{"abandoned cgroups", "cgroup",
		func(f *Facts) { f.Abandoned = []string{"/a (2 processes)", "/b (1 process)"} }, Warn,
		"2 control groups of jobs whose launcher was killed: /a (2 processes), /b (1 process)",
		[]string{"gpulaunch run true"}},
	{"cgroup unknown", "cgroup", func(f *Facts) { f.Cgroup = plan.CgroupPlace{} }, Unknown,
		"not known", nil},
	{"no python", "python", func(f *Facts) { f.PythonErr = errUnreadable }, Warn, "input/output",
		nil},
	{"no such python", "python", func(f *Facts) {
		f.PythonErr = errUnreadable
		f.Environ = []string{"PYTHON_EXEC=/no"}
	}, Fail, `PYTHON_EXEC="/no"`, nil},
	{"python unknown", "python", func(f *Facts) { f.Python = "" }, Unknown, "not known", nil},
	{"port taken", "metrics", func(f *Facts) { f.Metrics.Err = syscall.EADDRINUSE }, Warn,
		"in use", nil},
	{"chosen port taken", "metrics", func(f *Facts) {
		f.Metrics.Err, f.Metrics.Chosen = syscall.EADDRINUSE, true
	}, Fail, "in use", nil},
	{"metrics off", "metrics", func(f *Facts) { f.Metrics = Metrics{} }, OK, "off", nil},
	{"no TMPDIR", "tmpdir", func(f *Facts) { f.Temporary.Err = errGone }, Warn, `"/tmp"`, nil},
	{"TMPDIR full", "tmpdir", func(f *Facts) { f.Temporary.Disk.Unused = 1 << 20 }, Warn,
		"only 1 MiB left", nil},
	{"TMPDIR unknown", "tmpdir", func(f *Facts) { f.Temporary.Disk.Err = errUnreadable }, Unknown,
		"input/output", nil},
}

var limitCases = []examineCase{
	{"memlock without RDMA", "memlock", func(f *Facts) { f.LockedMemory.Soft = 8 << 20 }, OK,
		"8 MiB", nil},
	{"memlock with RDMA", "memlock", func(f *Facts) {
		f.LockedMemory.Soft, f.NICs = 64<<10, []affinity.NIC{{Name: "mlx5_0"}}
	}, Warn, "64 KiB, and RDMA (mlx5_0)", nil},
	{"memlock, RDMA unknown", "memlock", func(f *Facts) {
		f.LockedMemory.Soft, f.NICsErr = 64<<10, errUnreadable
	}, Unknown, "input/output", nil},
	{"memlock unknown", "memlock", func(f *Facts) { f.LockedMemory = Limit{Err: errUnreadable} },
		Unknown, "input/output", nil},
	{"few files", "nofile", func(f *Facts) { f.OpenFiles = Limit{Soft: 1024, Hard: 524288} },
		Warn, "1024 (hard limit 524288)", nil},
	{"few files for good", "nofile",
		func(f *Facts) { f.OpenFiles = Limit{Soft: 4095, Hard: 4095} }, Warn, "4095", nil},
	{"just enough files", "nofile",
		func(f *Facts) { f.OpenFiles = Limit{Soft: 4096, Hard: 4096} }, OK, "4096", nil},
	{"files unknown", "nofile", func(f *Facts) { f.OpenFiles = Limit{Err: errUnreadable} }, Unknown,
		"input/output", nil},
	{"few processes", "nproc", func(f *Facts) {
		f.Processes = Limit{Soft: 512, Hard: Unlimited}
	}, Warn, "512 (hard limit unlimited)", nil},
	{"processes unknown", "nproc", func(f *Facts) { f.Processes = Limit{Err: errUnreadable} },
		Unknown,
		"input/output", nil},
	{"docker's shm", "shm", func(f *Facts) { f.SharedMemory.SizeBytes = 64 << 20 }, Warn,
		"/dev/shm has 64 MiB", nil},
	{"shm full", "shm", func(f *Facts) { f.SharedMemory.Unused = 4096 }, Warn,
		"only 4 KiB left", nil},
	{"shm without limit", "shm", func(f *Facts) { f.SharedMemory.SizeBytes = 0 }, OK,
		"no limit", nil},
	{"shm a folder", "shm", func(f *Facts) { f.SharedMemory.Memory = false }, Warn,
		"not mounted", nil},
	{"no shm", "shm", func(f *Facts) { f.SharedMemory.Err = errGone }, Warn, "not mounted", nil},
	{"shm unknown", "shm", func(f *Facts) { f.SharedMemory.Err = errUnreadable }, Unknown,
		"input/output", nil},
}

var environmentCases = []examineCase{
	{"one hidden", "visible-devices", func(f *Facts) { f.setVisible("1", true) }, Warn,
		`CUDA_VISIBLE_DEVICES="1" hides 1 of 2 GPUs`, nil},
	{"none hidden", "visible-devices", func(f *Facts) { f.setVisible("1,0", true) }, OK,
		"hides no GPU", nil},
	{"names none", "visible-devices", func(f *Facts) { f.setVisible("7", true) }, Warn, "7",
		[]string{"locality"}},
	{"all hidden", "visible-devices", func(f *Facts) { f.setVisible("", true) }, Warn,
		"hides every GPU", []string{"locality"}},
	{"nothing to hide", "visible-devices",
		func(f *Facts) { *f = gpuless(); f.setVisible("3", true) },
		Unknown, "no GPU", gpuChecks},

	{"device order", "variables", environ("CUDA_DEVICE_ORDER=SLOWEST_FIRST"), Warn,
		"CUDA_DEVICE_ORDER", nil},
	{"fastest first", "variables", environ("CUDA_DEVICE_ORDER=FASTEST_FIRST"), OK, "none", nil},
	{"text behind an index", "visible-devices", func(f *Facts) { f.setVisible("0; 1", true) },
		Warn, `CUDA reads "0; 1" as 0 and ignores "; 1"`, nil},
	{"good order", "variables", environ("CUDA_DEVICE_ORDER=PCI_BUS_ID"), OK, "none", nil},
	{"GOMP", "variables", environ("GOMP_CPU_AFFINITY=0-3"), Warn, `"0-3"`, nil},
	{"KMP", "variables", environ("KMP_AFFINITY=granularity=fine,compact"), Warn, "compact",
		nil},
	{"KMP none", "variables", environ("KMP_AFFINITY=none"), OK, "none", nil},
	{"bind", "variables", environ("OMP_PROC_BIND=close,spread"), Warn, "OMP_PROC_BIND", nil},
	{"no bind", "variables", environ("OMP_PROC_BIND=FALSE"), OK, "none", nil},
	{"no P2P", "variables", environ("NCCL_P2P_DISABLE=1"), Warn, "NVLink", nil},
	{"P2P", "variables", environ("NCCL_P2P_DISABLE=0"), OK, "none", nil},
	{"no SHM", "variables", environ("NCCL_SHM_DISABLE=1"), Warn, "network", nil},
	{"no IB", "variables", environ("NCCL_IB_DISABLE=1"), Warn, "TCP", nil},
	{"debug", "variables", environ("NCCL_DEBUG=INFO"), Warn, "NCCL_DEBUG", nil},
	{"quiet debug", "variables", environ("NCCL_DEBUG=warn"), OK, "none", nil},
	{"preload", "variables", environ("LD_PRELOAD=/x\x1b.so"), Warn, `"/x\x1b.so"`, nil},
	{"empty preload", "variables", environ("LD_PRELOAD="), OK, "none", nil},
	{"one thread", "variables", environ("OMP_NUM_THREADS=1"), Warn, "one thread", nil},
	{"some threads", "variables", environ("OMP_NUM_THREADS=4"), OK, "none", nil},
	{"many threads", "variables", environ("OMP_NUM_THREADS=5"), Warn, "more than the 4 CPUs",
		nil},
	{"nested threads", "variables", environ("OMP_NUM_THREADS=1,4"), Warn, "one thread", nil},
	{"odd threads", "variables", environ("OMP_NUM_THREADS=all"), Warn, "all", nil},
	{"another launcher", "variables", environ("RANK=3", "WORLD_SIZE=8", "MASTER_ADDR="), Warn,
		`RANK="3", WORLD_SIZE="8", MASTER_ADDR=""`, nil},
}

var jobCases = []examineCase{
	{"no plan", "plan", func(f *Facts) { f.PlanErr = errUnreadable }, Fail, "input/output", nil},
	{"plan unknown", "plan", func(f *Facts) { f.Plan = plan.Plan{} }, Unknown, "not known",
		nil},
}

// TestExamineOneChange checks that each change of a fact is found, and only by the check that is
// about it.
func TestExamineOneChange(t *testing.T) {
	for _, c := range slices.Concat(driverCases, gpuCases, cpuCases, systemCases, limitCases,
		environmentCases, jobCases) {
		t.Run(c.check+"/"+c.name, func(t *testing.T) {
			f := healthy()
			c.change(&f)
			results := Examine(f)
			hit := slices.ContainsFunc(results, func(r Result) bool {
				return r.Check == c.check && r.Status == c.status &&
					strings.Contains(r.Found, c.found)
			})
			if !hit {
				t.Errorf("no %s with %q:\n%+v", c.status, c.found, results)
			}
			for _, r := range results {
				if r.Status != OK && r.Check != c.check && !slices.Contains(c.also, r.Check) {
					t.Errorf("%s has another status, too: %+v", r.Check, r)
				}
				if c.status == OK && r.Check == c.check && r.Status != OK {
					t.Errorf("not ok: %+v", r)
				}
				if (r.Status == Warn || r.Status == Fail) && r.Remedy == "" {
					t.Errorf("nothing to do: %+v", r)
				}
				if strings.ContainsAny(r.Found+r.Remedy, "\n") {
					t.Errorf("more than a line: %+v", r)
				}
			}
			failed := slices.ContainsFunc(results, func(r Result) bool { return r.Status == Fail })
			if failed == Ready(results) {
				t.Errorf("ready: %v, though failed: %v", !failed, failed)
			}
		})
	}
}

// gpuChecks are the checks that have no result without GPUs.
var gpuChecks = []string{"versions", "device-files", "health", "mig", "busy", "persistence",
	"compute-mode", "locality"}

func TestNothingKnownIsNeverOK(t *testing.T) {
	// This is the negative control of all checks: facts that nobody has filled in.
	unread := Facts{Given: Given{Library: "/x", Inventory: gpu.Inventory{Source: gpu.SourceNone}}}
	unread.LockedMemory.Err, unread.OpenFiles.Err, unread.Processes.Err = errUnreadable,
		errUnreadable, errUnreadable
	unread.SharedMemory.Err, unread.Temporary.Disk.Err, unread.QuotaErr = errUnreadable,
		errUnreadable, errUnreadable
	unread.KernelErr, unread.PidfdErr = errUnreadable, errUnreadable
	for _, r := range Examine(unread) {
		fine := slices.Contains([]string{"metrics", "visible-devices", "variables"}, r.Check)
		if r.Status == OK && !fine {
			t.Errorf("ok: %+v", r)
		}
	}
}

func FuzzParseModule(f *testing.F) {
	f.Add("NVRM version: NVIDIA UNIX x86_64 Kernel Module  550.54.15  Tue Mar  5 22:23:56 UTC "+
		"2024\nGCC version:  gcc version 12.3.0\n", "550.54.15")
	f.Add("NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  535.161.08  Release Build  "+
		"(dvs-builder@U16)\n", "535.161.08")
	f.Add("GCC version: 12.3\n", "")
	f.Add("NVRM version:", "")
	f.Add("NVRM version: none\nGCC version:  gcc version 12.3.0 \n", "")
	f.Fuzz(func(t *testing.T, text, _ string) {
		version, err := parseModule(text)
		if (err == nil) == (version == "") {
			t.Fatalf("%q, %v", version, err)
		}
		if strings.Trim(version, "0123456789.") != "" || err == nil &&
			!strings.Contains(text, version) {
			t.Fatalf("%q is no version of %q", version, text)
		}
	})
}

func TestParseModule(t *testing.T) {
	for text, want := range map[string]string{
		"NVRM version: NVIDIA UNIX x86_64 Kernel Module  550.54.15  Tue Mar  5 22:23:56 UTC " +
			"2024\nGCC version:  gcc version 12.3.0\n": "550.54.15",
		"NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  535.161.08  Release " +
			"Build\n": "535.161.08",
		"NVRM version: none\nGCC version:  gcc version " +
			"12.3.0 \n": "",
		"GCC version: 12.3\n": "",
	} {
		if got, _ := parseModule(text); got != want {
			t.Errorf("%q has %q, want %q", text, got, want)
		}
	}
}

func FuzzParseRelease(f *testing.F) {
	for _, s := range []string{"5.4.0-150-generic", "6.1-rc3", "", "5", "5.", "-1.2",
		"99999999999999999999.1"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if major, minor, ok := parseRelease(s); ok && (major < 0 || minor < 0) {
			t.Fatalf("%q is %d.%d", s, major, minor)
		}
	})
}
