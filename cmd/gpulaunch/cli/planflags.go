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

	Parsed(fs, "nproc-per-node", "N", "workers on this machine: auto, gpu (one per GPU), cpu (one per CPU) or a number", &o.Workers, plan.ParseWorkerCount)
	o.Nodes = 1
	Parsed(fs, "nnodes", "N", "machines in the job, each with a gpulaunch of its own", &o.Nodes, Whole)
	Parsed(fs, "node-rank", "I", "this machine's number among them, from 0", &o.NodeRank, Whole)
	fs.StringVar(&o.MasterAddr, "master-addr", "", "`address` of the machine with --node-rank=0")
	Parsed(fs, "master-port", "PORT", "TCP port of rank 0's rendezvous (a free one, or 29500 with several machines)", &o.MasterPort, Whole)
	fs.BoolVar(&f.standalone, "standalone", false, "one machine and a free port, as without --nnodes anyway")
	Parsed(fs, "max-restarts", "N", "how often all workers are started again after one has failed", &o.MaxRestarts, Whole)
	fs.StringVar(&o.RunID, "run-id", "", "`name` of the job for workers and metrics (made up)")

	fs.BoolVarP(&f.Module, "module", "m", false, "the program is a Python module, as in python3 -m")
	fs.BoolVar(&f.NoPython, "no-python", false, "run the program as it is, even if its name ends in .py")

	Parsed(fs, "affinity", "MODE", "CPUs of a worker: none, node (near its device), socket, exclusive (cores of its own),\ncore-complex (an L3), single (a core) or map=0-3;4-7;…", &o.Affinity, affinity.ParsePolicy)
	Parsed(fs, "numa-binding", "MODE", "torchrun's name for --affinity: node, socket, exclusive or core-complex", &o.Affinity, parseNUMABinding)
	Parsed(fs, "threads", "WHICH", "hardware threads of a worker's cores: all or one-per-core", &o.Threads, affinity.ParseThreads)
	fs.BoolVar(&o.StrictAffinity, "strict-affinity", false, "fail rather than widen to other CPUs when those near a device may not be used")
	Parsed(fs, "memory-policy", "POLICY", "memory of the NUMA nodes of a worker's CPUs: none, preferred, bind or interleave", &o.Memory, affinity.ParseMemoryPolicy)
	Parsed(fs, "nic", "WHICH", "RDMA device of a worker: none (left to NCCL and UCX) or closest (to its GPU)", &o.NIC, plan.ParseNICChoice)
	Parsed(fs, "visible", "WHAT", "devices that a worker sees: own, or all as with torchrun", &o.Visible, plan.ParseVisibility)
	Parsed(fs, "device-id", "NAME", "name of a worker's GPU in CUDA_VISIBLE_DEVICES: index or uuid\n(the index, as long as CUDA is sure to count as gpulaunch does)", &o.DeviceID, plan.ParseDeviceID)
	Parsed(fs, "health", "WHAT", "GPUs with something wrong: warn, skip (use others), fail or off", &o.Health, plan.ParseHealthMode)
	Parsed(fs, "busy", "WHAT", "GPUs that others compute on: warn, skip (use others), wait (till they are free) or fail", &o.Busy, plan.ParseBusyMode)
	fs.BoolVar(&o.Oversubscribe, "oversubscribe", false, "let workers share a GPU when there are more of them than GPUs")
	Parsed(fs, "cgroup", "WHEN", "control group for the job: auto (under cgroup v2, if it can be written) or off", &f.cgroup, OneOf("auto", "off"))
	fs.BoolVar(&o.RequireGPU, "require-gpu", false, "fail rather than run CPU-only workers")
	f.RegisterGPU(fs)
}

// RegisterGPU adds the flags to a set.
func (f *GPUFlags) RegisterGPU(fs *pflag.FlagSet) {
	f.Timeout = Seconds(30 * time.Second)
	fs.StringVar(&f.Library, "nvml-library", "", "`file` of the NVML library (looked for)")
	fs.Var(&f.Timeout, "gpu-timeout", "how long NVML may take to list the GPUs")
}

// Complete fills in what depends on several flags, and on what workers inherit.
func (f *PlanFlags) Complete(environ []string) error {
	o := &f.Options
	if o.Nodes < 1 {
		return fmt.Errorf("--nnodes is %d: it must be at least 1", o.Nodes)
	}
	if f.flags.Changed("affinity") && f.flags.Changed("numa-binding") {
		return errors.New("--affinity and --numa-binding are two names for one thing: drop one of them")
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
