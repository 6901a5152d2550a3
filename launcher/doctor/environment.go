package doctor

import (
	"slices"
	"strconv"
	"strings"

	"github.com/gpulaunch/gpulaunch/gpu"
	"github.com/gpulaunch/gpulaunch/launcher/plural"
)

// maxValue is how many bytes of a variable's value are shown.
const maxValue = 80

// lookUp returns the value of a variable as getenv(3) does: that of the first entry with its name.
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

// visibleDevices checks CUDA_VISIBLE_DEVICES, which the caller has applied.
func visibleDevices(f Facts) []Result {
	v := f.Visible
	if !v.Set {
		return ok("CUDA_VISIBLE_DEVICES is not set: all GPUs may be used")
	}
	if len(f.Inventory.Devices) == 0 {
		return unknown("CUDA_VISIBLE_DEVICES=%s, and there is no GPU to compare it with",
			quoted(v.Value))
	}
	admitted := 0
	for _, d := range f.Inventory.Devices {
		if f.admitted(d) {
			admitted++
		}
	}
	hidden := len(f.Inventory.Devices) - admitted
	if len(v.Doubts) > 0 && v.Reason == "" {
		return doubted(v.Doubts)
	}
	const remedy = "unset it to use all GPUs, or correct it"
	switch {
	case v.Reason != "":
		return problem(Warn, remedy, "%s", v.Reason)
	case hidden > 0:
		return problem(Warn, remedy+"; leave it if a scheduler has set it",
			"CUDA_VISIBLE_DEVICES=%s hides %d of %s", quoted(v.Value), hidden,
			plural.Of(len(f.Inventory.Devices), "%d GPU", "%d GPUs"))
	}
	return ok("CUDA_VISIBLE_DEVICES=%s hides no GPU", quoted(v.Value))
}

// doubted returns a warning for each of the doubts about CUDA_VISIBLE_DEVICES, which consist of
// what is the matter and, behind a semicolon, what to do.
func doubted(doubts []string) (results []Result) {
	for _, line := range doubts {
		at := strings.LastIndex(line, "; ") // the value before it may have some of its own
		results = append(results, problem(Warn, line[at+len("; "):], "%s", line[:at])...)
	}
	return results
}

// harmfulVariable is a variable that does harm if a job inherits it, unless it is empty or has one
// of the harmless values.
type harmfulVariable struct {
	name     string
	harmless []string
	effect   string
	remedy   string
}

// The remedies that several variables share.
const (
	remedyBinding = "unset it, as gpulaunch binds workers itself, or run with --affinity=none"
	remedyBroken  = "unset it, unless a broken machine needs it"
)

// harmfulVariables lists the variables that are checked one by one. OMP_NUM_THREADS and the
// variables of other launchers have functions of their own. The meaning of the values is from
// NCCL's "Environment Variables", the OpenMP specification and the manuals of its two libraries.
var harmfulVariables = []harmfulVariable{
	{
		name: "CUDA_DEVICE_ORDER", harmless: []string{gpu.OrderPCI, gpu.OrderFastestFirst},
		effect: "CUDA does not know this order, and gpulaunch uses that of the PCI bus",
		remedy: "set it to " + gpu.OrderPCI + " or " + gpu.OrderFastestFirst + ", or unset it",
	},
	{
		name:   "GOMP_CPU_AFFINITY",
		effect: "OpenMP puts the threads of all workers on these CPUs",
		remedy: remedyBinding,
	},
	{
		name: "KMP_AFFINITY", harmless: []string{"none", "disabled"},
		effect: "OpenMP binds threads by itself",
		remedy: remedyBinding,
	},
	{
		name: "OMP_PROC_BIND", harmless: []string{"false"},
		effect: "OpenMP binds threads by itself",
		remedy: remedyBinding,
	},
	{
		name: "NCCL_P2P_DISABLE", harmless: []string{"0"},
		effect: "GPUs do not copy to each other directly, so NVLink is not used",
		remedy: remedyBroken,
	},
	{
		name: "NCCL_SHM_DISABLE", harmless: []string{"0"},
		effect: "GPUs that cannot copy to each other directly use the network",
		remedy: remedyBroken,
	},
	{
		name: "NCCL_IB_DISABLE", harmless: []string{"0"},
		effect: "RDMA is not used, so machines communicate over TCP",
		remedy: "unset it, unless there is no RDMA network",
	},
	{
		name: "NCCL_DEBUG", harmless: []string{"NONE", "VERSION", "WARN"},
		effect: "NCCL adds many lines to the workers' output",
		remedy: "unset it when the problem is found, or use WARN",
	},
	{
		name:   "LD_PRELOAD",
		effect: "every worker loads it",
		remedy: "unset it, unless it is intended (an allocator, a profiler)",
	},
}

// harms reports whether the variable does harm with a value.
func (h harmfulVariable) harms(value string) bool {
	same := func(v string) bool { return strings.EqualFold(v, value) }
	return value != "" && !slices.ContainsFunc(h.harmless, same)
}

// variables checks the variables that a job would inherit.
func variables(f Facts) []Result {
	var results []Result
	for _, h := range harmfulVariables {
		if value := f.variable(h.name); h.harms(value) {
			found := problem(Warn, h.remedy, "%s=%s: %s", h.name, quoted(value), h.effect)
			results = append(results, found...)
		}
	}
	results = append(results, threads(f)...)
	results = append(results, launchers(f)...)
	if results == nil {
		return ok("none of the variables that are known to do harm is set")
	}
	return results
}

// threads checks OMP_NUM_THREADS, which workers inherit. Its first number counts (OpenMP 5.2,
// 21.1.2).
func threads(f Facts) []Result {
	value, set := f.lookUp("OMP_NUM_THREADS")
	if !set || value == "" {
		return nil
	}
	first, _, _ := strings.Cut(value, ",")
	n, err := strconv.Atoi(strings.TrimSpace(first))
	const remedy = "unset it: gpulaunch sets it to the number of a worker's cores"
	switch {
	case err != nil || n < 1:
		return problem(Warn, remedy, "OMP_NUM_THREADS=%s is not a number of threads", quoted(value))
	case n == 1 && f.Topology != nil && f.Topology.Allowed.Len() > 1:
		return problem(Warn, remedy,
			"OMP_NUM_THREADS=1: each worker computes with one thread on the CPU "+
				"(torchrun sets this)")
	case f.Topology != nil && n > f.Topology.Allowed.Len():
		return problem(Warn, remedy,
			"OMP_NUM_THREADS=%d is more than the %d CPUs that may be used, "+
				"and each worker starts that many threads", n, f.Topology.Allowed.Len())
	}
	return nil
}

// launchers checks for variables with which another launcher describes its own worker.
func launchers(f Facts) []Result {
	names := []string{"RANK", "LOCAL_RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"}
	var found []string
	for _, name := range names {
		if value, set := f.lookUp(name); set {
			found = append(found, name+"="+quoted(value))
		}
	}
	if found == nil {
		return nil
	}
	return problem(Warn,
		"start gpulaunch once per machine and not as a worker of another launcher, or unset them: "+
			"gpulaunch sets them for its workers",
		"%s: inherited from another launcher", strings.Join(found, ", "))
}

// quoted returns the value of a variable in quotes, shortened if it is long.
func quoted(s string) string {
	if len(s) > maxValue {
		return strconv.Quote(strings.ToValidUTF8(s[:maxValue], "")) + "…"
	}
	return strconv.Quote(s)
}
