package doctor

import (
	"slices"
	"strconv"
	"strings"

	"github.com/gpulaunch/gpulaunch/launcher/internal/text"
)

// mostShown is how many bytes of a variable's value are shown.
const mostShown = 80

// lookUp finds a variable as getenv(3) does: the first of that name.
func (f Facts) lookUp(name string) (value string, set bool) {
	for _, entry := range f.Environ {
		if value, ok := strings.CutPrefix(entry, name+"="); ok {
			return value, true
		}
	}
	return "", false
}

func (f Facts) variable(name string) string {
	value, _ := f.lookUp(name)
	return value
}

// visibleDevices judges CUDA_VISIBLE_DEVICES, which the caller has applied.
func visibleDevices(f Facts) []Result {
	v := f.Visible
	if !v.Set {
		return one(good("CUDA_VISIBLE_DEVICES is not set: all GPUs may be used"))
	}
	if len(f.Inventory.Devices) == 0 {
		return one(untold("CUDA_VISIBLE_DEVICES=%s, and there is no GPU to compare it with", quoted(v.Value)))
	}
	admitted := 0
	for _, d := range f.Inventory.Devices {
		if f.admitted(d) {
			admitted++
		}
	}
	hidden := len(f.Inventory.Devices) - admitted
	const remedy = "unset it to use all GPUs, or correct it"
	switch {
	case v.Reason != "":
		return one(bad(Warn, remedy, "%s", v.Reason))
	case hidden > 0:
		return one(bad(Warn, remedy+"; leave it if a scheduler has set it", "CUDA_VISIBLE_DEVICES=%s hides %d of %s", quoted(v.Value), hidden,
			text.Plural(len(f.Inventory.Devices), "%d GPU", "%d GPUs")))
	}
	return one(good("CUDA_VISIBLE_DEVICES=%s hides no GPU", quoted(v.Value)))
}

// trap is a variable that a job would inherit to its harm, unless it is empty or has one of the harmless values.
type trap struct {
	name     string
	harmless []string
	what     string
	remedy   string
}

const ownBinding = "gpulaunch has bound the worker already; unset it, or run with --affinity=none"

// traps are told of one by one. Launchers' and OpenMP's numbers are judged by functions of their own. What the values
// mean is from NCCL's "Environment Variables", the OpenMP specification and the manuals of its two libraries.
var traps = []trap{
	{"CUDA_DEVICE_ORDER", []string{"PCI_BUS_ID"}, "indexes in CUDA_VISIBLE_DEVICES may have been written for another order than the PCI bus's, which gpulaunch uses", "unset it, or name GPUs by UUID"},
	{"GOMP_CPU_AFFINITY", nil, "OpenMP puts the threads of all workers on these CPUs", ownBinding},
	{"KMP_AFFINITY", []string{"none", "disabled"}, "OpenMP binds threads by itself", ownBinding},
	{"OMP_PROC_BIND", []string{"false"}, "OpenMP binds threads by itself", ownBinding},
	{"NCCL_P2P_DISABLE", []string{"0"}, "GPUs do not copy to each other directly: NVLink lies idle", "unset it, unless a broken machine needs it"},
	{"NCCL_SHM_DISABLE", []string{"0"}, "GPUs that cannot copy to each other directly go over the network", "unset it, unless a broken machine needs it"},
	{"NCCL_IB_DISABLE", []string{"0"}, "RDMA lies idle: machines talk over TCP", "unset it, unless there is no RDMA network"},
	{"NCCL_DEBUG", []string{"NONE", "VERSION", "WARN"}, "NCCL writes much to the workers' output", "unset it when the fault is found, or use WARN"},
	{"LD_PRELOAD", nil, "every worker loads it", "unset it, unless it is meant (an allocator, a profiler)"},
}

func (t trap) springs(value string) bool {
	return value != "" && !slices.ContainsFunc(t.harmless, func(v string) bool { return strings.EqualFold(v, value) })
}

// variables judges what a job would inherit.
func variables(f Facts) []Result {
	var results []Result
	for _, t := range traps {
		if value := f.variable(t.name); t.springs(value) {
			results = append(results, bad(Warn, t.remedy, "%s=%s: %s", t.name, quoted(value), t.what))
		}
	}
	results = append(results, threads(f)...)
	results = append(results, launchers(f)...)
	if results == nil {
		return one(good("none is set that is known to do harm"))
	}
	return results
}

// threads judges OMP_NUM_THREADS, which workers get as it is. Its first number counts (OpenMP 5.2, 21.1.2).
func threads(f Facts) []Result {
	value, set := f.lookUp("OMP_NUM_THREADS")
	if !set || value == "" {
		return nil
	}
	first, _, _ := strings.Cut(value, ",")
	n, err := strconv.Atoi(strings.TrimSpace(first))
	const remedy = "unset it: gpulaunch sets the number of a worker's cores"
	switch {
	case err != nil || n < 1:
		return one(bad(Warn, remedy, "OMP_NUM_THREADS=%s is not a number of threads", quoted(value)))
	case n == 1 && f.Topology != nil && f.Topology.Allowed.Len() > 1:
		return one(bad(Warn, remedy, "OMP_NUM_THREADS=1: each worker computes with one thread on the CPU (torchrun sets this)"))
	case f.Topology != nil && n > f.Topology.Allowed.Len():
		return one(bad(Warn, remedy, "OMP_NUM_THREADS=%d is more than the %d CPUs that may be used, and for each worker", n, f.Topology.Allowed.Len()))
	}
	return nil
}

// launchers judges what another launcher says of its own worker.
func launchers(f Facts) []Result {
	var found []string
	for _, name := range []string{"RANK", "LOCAL_RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"} {
		if value, set := f.lookUp(name); set {
			found = append(found, name+"="+quoted(value))
		}
	}
	if found == nil {
		return nil
	}
	return one(bad(Warn, "start gpulaunch once per machine, not as a worker of another launcher, or unset them; workers get gpulaunch's own",
		"%s: inherited from another launcher", strings.Join(found, ", ")))
}

// quoted shows somebody else's text on one line.
func quoted(s string) string {
	if len(s) > mostShown {
		return strconv.Quote(strings.ToValidUTF8(s[:mostShown], "")) + "…"
	}
	return strconv.Quote(s)
}
