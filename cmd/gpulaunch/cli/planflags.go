package cli

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/pflag"

	"github.com/gpulaunch/gpulaunch/affinity"
	"github.com/gpulaunch/gpulaunch/launcher/plan"
)

// PlanFlags are the flags that say what a job is to be; run and plan share them.
type PlanFlags struct {
	// Options is what the flags say of the plan.
	Options plan.Options
	// Module and NoPython say how to run the program: as a Python module, or as it is.
	Module, NoPython bool
	GPUFlags

	standalone bool
	cgroup     string
	flags      *pflag.FlagSet
}

// GPUFlags say how GPUs are looked for.
type GPUFlags struct {
	// Library is the file of the NVML library, "" to look for it.
	Library string
	// Timeout is how long NVML may take to list the GPUs.
	Timeout Seconds
}

// Register adds the flags to a set.
func (f *PlanFlags) Register(fs *pflag.FlagSet) {
	o := &f.Options
	f.flags = fs
	o.Workers, o.Affinity.Mode, o.Visible = plan.WorkersAuto, affinity.ModeNode, plan.VisibleOwn
	o.Threads, o.Memory, o.NIC = affinity.ThreadsAll, affinity.MemoryNone, plan.NICNone
	o.Health, o.Busy = plan.HealthWarn, plan.BusyWarn
	f.cgroup = "auto"

	Parsed(fs, "nproc-per-node", "N",
		"workers on this machine: auto, gpu (one\nper GPU), cpu (one per CPU) or a\nnumber",
		&o.Workers, plan.ParseWorkerCount)
	o.Nodes = 1
	Parsed(fs, "nnodes", "N", "machines in the job; start one gpulaunch on\neach of them", &o.Nodes,
		Whole)
	Parsed(fs, "node-rank", "I", "number of this machine among them, from 0", &o.NodeRank, Whole)
	fs.StringVar(&o.MasterAddr, "master-addr", "",
		"`HOST` name or address of the machine with\n--node-rank=0")
	Parsed(fs, "master-port", "PORT",
		"TCP port on which rank 0 listens (by default a\nfree one, or 29500 with several machines)",
		&o.MasterPort, Whole)
	fs.BoolVar(&f.standalone, "standalone", false,
		"use one machine and a free port, as without\n--nnodes anyway")
	Parsed(fs, "max-restarts", "N", "how often all workers are started again after\none has failed",
		&o.MaxRestarts, Whole)
	fs.StringVar(&o.RunID, "run-id", "",
		"`NAME` of the job for workers and metrics (by\ndefault it is generated)")

	fs.BoolVarP(&f.Module, "module", "m", false, "the program is a Python module, as in python3 -m")
	fs.BoolVar(&f.NoPython, "no-python", false,
		"run the program as it is, even if it is a Python\nscript or application")

	Parsed(fs, "affinity", "MODE",
		"CPUs of a worker: node (near its device),\nsocket, exclusive (cores of its "+
			"own),\ncore-complex (an L3 cache), single (a core),\nmap=0-3;4-7;… or none",
		&o.Affinity, affinity.ParsePolicy)
	Parsed(fs, "numa-binding", "MODE",
		"torchrun's name for --affinity: node, socket,\nexclusive or core-complex", &o.Affinity,
		parseNUMABinding)
	Parsed(fs, "threads", "WHICH", "hardware threads of a worker's cores: all or\none-per-core",
		&o.Threads, affinity.ParseThreads)
	fs.BoolVar(&o.StrictAffinity, "strict-affinity", false,
		"fail instead of using CPUs farther away if\nthose near a device are not allowed")
	Parsed(fs, "memory-policy", "POLICY",
		"use of the memory near a worker's CPUs: none,\npreferred, bind or interleave", &o.Memory,
		affinity.ParseMemoryPolicy)
	Parsed(fs, "nic", "WHICH",
		"RDMA device of a worker: closest (to its GPU) or\nnone (left to NCCL and UCX)", &o.NIC,
		plan.ParseNICChoice)
	Parsed(fs, "visible", "WHAT", "devices that a worker sees: own, or all as with\ntorchrun",
		&o.Visible, plan.ParseVisibility)
	Parsed(fs, "device-id", "NAME",
		"name of a worker's GPU in CUDA_VISIBLE_DEVICES:\nindex or uuid (by default index, "+
			"unless CUDA\nmay count in another way than gpulaunch does)", &o.DeviceID,
		plan.ParseDeviceID)
	Parsed(fs, "health", "WHAT",
		"what to do about GPUs that have a finding: warn,\nskip (use others), fail or off",
		&o.Health, plan.ParseHealthMode)
	Parsed(fs, "busy", "WHAT",
		"what to do about GPUs that other processes use:\nwarn, skip (use others), wait (until "+
			"they are\nfree) or fail", &o.Busy, plan.ParseBusyMode)
	fs.BoolVar(&o.Oversubscribe, "oversubscribe", false,
		"let workers share a GPU if there are more\nworkers than GPUs")
	Parsed(fs, "cgroup", "WHEN",
		"control group for the job: auto (if cgroup v2\ncan be written) or off", &f.cgroup,
		OneOf("auto", "off"))
	fs.BoolVar(&o.RequireGPU, "require-gpu", false, "fail instead of running CPU-only workers")
	f.RegisterGPU(fs)
}

// RegisterGPU adds the flags to a set.
func (f *GPUFlags) RegisterGPU(fs *pflag.FlagSet) {
	f.Timeout = Seconds(30 * time.Second)
	fs.StringVar(&f.Library, "nvml-library", "",
		"`FILE` with the NVML library (by default\ngpulaunch searches for it)")
	fs.Var(&f.Timeout, "gpu-timeout", "`DURATION` that NVML may take to list the\nGPUs")
}

// Complete fills in what depends on several flags, and on what workers inherit.
func (f *PlanFlags) Complete(environ []string) error {
	o := &f.Options
	if o.Nodes < 1 {
		return fmt.Errorf("--nnodes is %d: it must be at least 1", o.Nodes)
	}
	if f.flags.Changed("affinity") && f.flags.Changed("numa-binding") {
		return errors.New("--affinity and --numa-binding are two names for one thing: drop one " +
			"of them")
	}
	if f.standalone && o.Nodes != 1 {
		return fmt.Errorf("--standalone contradicts --nnodes=%d: drop one of them", o.Nodes)
	}
	switch {
	case o.RunID != "":
	case o.Nodes > 1:
		o.RunID = "none" // torchrun's; machines cannot agree on one that is made up
	default:
		o.RunID = newRunID()
	}
	o.NoCgroup = f.cgroup == "off"
	o.Environ = environ
	return nil
}

// newRunID makes up a name for a job that got none.
func newRunID() string {
	var b [4]byte
	_, _ = rand.Read(b[:]) // never fails, see crypto/rand
	return hex.EncodeToString(b[:])
}
