//go:build linux

package main

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/gpulaunch/gpulaunch/affinity"
	"github.com/gpulaunch/gpulaunch/launcher"
	"github.com/gpulaunch/gpulaunch/launcher/plan"
)

// jobFlags are those that run and plan share.
type jobFlags struct {
	options    plan.Options
	command    launcher.Command
	standalone bool
	library    string
	cgroup     string
	gpuTimeout seconds
	flags      *pflag.FlagSet
}

func (f *jobFlags) register(fs *pflag.FlagSet) {
	o := &f.options
	f.flags = fs
	o.Workers, o.Affinity.Mode, o.Visible = plan.WorkersAuto, affinity.ModeNode, plan.VisibleOwn
	o.Threads, o.Memory, o.NIC = affinity.ThreadsAll, affinity.MemoryNone, plan.NICNone
	o.Health, o.Busy = plan.HealthWarn, plan.BusyWarn
	f.cgroup = "auto"

	parsed(fs, "nproc-per-node", "N", "workers on this machine: auto, gpu (one per GPU), cpu (one per CPU) or a number", &o.Workers, plan.ParseWorkerCount)
	o.Nodes = 1
	parsed(fs, "nnodes", "N", "machines in the job, each with a gpulaunch of its own", &o.Nodes, whole)
	parsed(fs, "node-rank", "I", "this machine's number among them, from 0", &o.NodeRank, whole)
	fs.StringVar(&o.MasterAddr, "master-addr", "", "`address` of the machine with --node-rank=0")
	parsed(fs, "master-port", "PORT", "TCP port of rank 0's rendezvous (a free one, or 29500 with several machines)", &o.MasterPort, whole)
	fs.BoolVar(&f.standalone, "standalone", false, "one machine and a free port, as without --nnodes anyway")
	parsed(fs, "max-restarts", "N", "how often all workers are started again after one has failed", &o.MaxRestarts, whole)
	fs.StringVar(&o.RunID, "run-id", "", "`name` of the job for workers and metrics (made up)")

	fs.BoolVarP(&f.command.Module, "module", "m", false, "the program is a Python module, as in python3 -m")
	fs.BoolVar(&f.command.NoPython, "no-python", false, "run the program as it is, even if its name ends in .py")

	parsed(fs, "affinity", "MODE", "CPUs of a worker: none, node (near its device), socket, exclusive (cores of its own),\ncore-complex (an L3), single (a core) or map=0-3;4-7;…", &o.Affinity, affinity.ParsePolicy)
	parsed(fs, "numa-binding", "MODE", "torchrun's name for --affinity: node, socket, exclusive or core-complex", &o.Affinity, parseNUMABinding)
	parsed(fs, "threads", "WHICH", "hardware threads of a worker's cores: all or one-per-core", &o.Threads, affinity.ParseThreads)
	fs.BoolVar(&o.StrictAffinity, "strict-affinity", false, "fail rather than widen to other CPUs when those near a device may not be used")
	parsed(fs, "memory-policy", "POLICY", "memory of the NUMA nodes of a worker's CPUs: none, preferred, bind or interleave", &o.Memory, affinity.ParseMemoryPolicy)
	parsed(fs, "nic", "WHICH", "RDMA device of a worker: none (left to NCCL and UCX) or closest (to its GPU)", &o.NIC, plan.ParseNICChoice)
	parsed(fs, "visible", "WHAT", "devices that a worker sees: own, or all as with torchrun", &o.Visible, plan.ParseVisibility)
	parsed(fs, "device-id", "NAME", "name of a worker's GPU in CUDA_VISIBLE_DEVICES: index or uuid\n(the index, as long as CUDA is sure to count as gpulaunch does)", &o.DeviceID, plan.ParseDeviceID)
	parsed(fs, "health", "WHAT", "GPUs with something wrong: warn, skip (use others), fail or off", &o.Health, plan.ParseHealthMode)
	parsed(fs, "busy", "WHAT", "GPUs that others compute on: warn, skip (use others), wait (till they are free) or fail", &o.Busy, plan.ParseBusyMode)
	fs.BoolVar(&o.Oversubscribe, "oversubscribe", false, "let workers share a GPU when there are more of them than GPUs")
	parsed(fs, "cgroup", "WHEN", "control group for the job: auto (under cgroup v2, if it can be written) or off", &f.cgroup, oneOf("auto", "off"))
	fs.BoolVar(&o.RequireGPU, "require-gpu", false, "fail rather than run CPU-only workers")
	f.registerGPU(fs)
}

// registerGPU has the flags that say how GPUs are looked for.
func (f *jobFlags) registerGPU(fs *pflag.FlagSet) {
	f.gpuTimeout = seconds(30 * time.Second)
	fs.StringVar(&f.library, "nvml-library", "", "`file` of the NVML library (looked for)")
	fs.Var(&f.gpuTimeout, "gpu-timeout", "how long NVML may take to list the GPUs")
}

// complete fills in what depends on several flags and on the environment.
func (f *jobFlags) complete(args []string) error {
	o := &f.options
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
	o.Environ = os.Environ()
	f.command.Args, f.command.Python = args, os.Getenv("PYTHON_EXEC")
	return nil
}

// environment sets each flag that the command line does not have from
// GPULAUNCH_ and its name, so --grace from GPULAUNCH_GRACE. An empty
// variable counts as none.
func environment(fs *pflag.FlagSet) (err error) {
	fs.VisitAll(func(f *pflag.Flag) {
		name := variable(f)
		value := os.Getenv(name)
		other := fs.Lookup(map[string]string{"affinity": "numa-binding", "numa-binding": "affinity"}[f.Name])
		if err != nil || f.Changed || value == "" || name == "" || other != nil && other.Changed {
			return
		}
		e := fs.Set(f.Name, value)
		if e != nil && f.Value.Type() == "bool" {
			e = fmt.Errorf("it is neither true nor false")
		}
		if e != nil {
			err = fmt.Errorf("the inherited %s=%q is no good: %w; correct or unset it", name, value, cause(e))
		}
	})
	return err
}

// variable is the environment variable for a flag; "" for those that belong to
// one command line and not to a machine or a job.
func variable(f *pflag.Flag) string {
	switch f.Name {
	case "help", "json", "wide", "module", "no-python", "svg", "from", "localities", "report":
		return ""
	}
	return "GPULAUNCH_" + strings.ToUpper(strings.ReplaceAll(f.Name, "-", "_"))
}

// cause is what a flag's own parser said, without pflag's wrapping.
func cause(err error) error {
	if e, ok := err.(*pflag.InvalidValueError); ok {
		return e.Unwrap()
	}
	return err
}

// parsed registers a flag whose value has a parser and a String form.
func parsed[T any](fs *pflag.FlagSet, name, placeholder, usage string, p *T, parse func(string) (T, error)) {
	fs.Var(&value[T]{p, placeholder, parse}, name, usage)
}

type value[T any] struct {
	p     *T
	kind  string
	parse func(string) (T, error)
}

func (v *value[T]) String() string { return fmt.Sprint(*v.p) }
func (v *value[T]) Type() string   { return v.kind }
func (v *value[T]) Set(s string) (err error) {
	parsed, err := v.parse(s)
	if err == nil {
		*v.p = parsed
	}
	return err
}

// parseNUMABinding reads the modes that torchrun has.
func parseNUMABinding(s string) (affinity.Policy, error) {
	mode, err := oneOf("node", "socket", "exclusive", "core-complex")(s)
	return affinity.Policy{Mode: affinity.Mode(mode)}, err
}

// oneOf parses one of a few words.
func oneOf(words ...string) func(string) (string, error) {
	return func(s string) (string, error) {
		if !slices.Contains(words, s) {
			return "", fmt.Errorf("%q is unknown: use %s", s, strings.Join(words, " or "))
		}
		return s, nil
	}
}

// whole parses a whole number.
func whole(s string) (int, error) {
	n, err := strconv.Atoi(s)
	if err != nil {
		return 0, fmt.Errorf("%q is not a whole number", s)
	}
	return n, nil
}

// seconds is a duration that may be written as a plain number of seconds, as
// for timeout(1).
type seconds time.Duration

func (d *seconds) String() string { return time.Duration(*d).String() }
func (d *seconds) Type() string   { return "duration" }
func (d *seconds) Set(s string) error {
	v, err := time.ParseDuration(s)
	if n, e := strconv.ParseFloat(s, 64); e == nil {
		v, err = time.Duration(n*float64(time.Second)), nil
	}
	if err != nil || v < 0 {
		return fmt.Errorf("%q is not a duration: write 30s, 2m or a number of seconds", s)
	}
	*d = seconds(v)
	return nil
}
