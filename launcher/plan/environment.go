package plan

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/gpulaunch/gpulaunch/gpu"
)

// environment returns what is added to a worker's inherited environment: the variables that
// torchrun sets, with torchrun's meanings
// (https://docs.pytorch.org/docs/stable/elastic/run.html#environment-variables), the device as CUDA
// names it, and variables of gpulaunch for facts that have no other name. visible is the value for
// CUDA_VISIBLE_DEVICES, which is empty for a CPU-only worker. A worker with a device for which it is
// empty inherits the variable as it is.
func (p Plan) environment(w Worker, visible string) map[string]string {
	local := w.Device == nil || p.Visible == VisibleAll
	count := p.WorldSize / p.Nodes
	env := map[string]string{
		"RANK":             strconv.Itoa(w.Rank),
		"LOCAL_RANK":       "0",
		"WORLD_SIZE":       strconv.Itoa(p.WorldSize),
		"LOCAL_WORLD_SIZE": strconv.Itoa(count),
		"GROUP_RANK":       strconv.Itoa(p.NodeRank),
		"GROUP_WORLD_SIZE": strconv.Itoa(p.Nodes),
		"ROLE_NAME":        "default",
		"ROLE_RANK":        strconv.Itoa(w.Rank),
		"ROLE_WORLD_SIZE":  strconv.Itoa(p.WorldSize),
		"MASTER_ADDR":      p.MasterAddr,

		"TORCHELASTIC_RUN_ID":        p.RunID,
		"TORCHELASTIC_RESTART_COUNT": "0",
		"TORCHELASTIC_MAX_RESTARTS":  strconv.Itoa(p.MaxRestarts),
		// torchrun's agent serves the rendezvous store itself. This launcher does not, and rank 0
		// would wait forever for a store if it inherited True.
		"TORCHELASTIC_USE_AGENT_STORE": "False",

		"CUDA_VISIBLE_DEVICES": visible,
		"GPULAUNCH_LOCAL_RANK": strconv.Itoa(w.LocalRank),
		"GPULAUNCH_CPUS":       w.CPUs.String(),
		"GPULAUNCH_NUMA_NODES": joinInts(w.NUMANodes),
	}
	if p.MasterPort != 0 { // otherwise a port is chosen when the job starts
		env["MASTER_PORT"] = strconv.Itoa(p.MasterPort)
	}
	if local {
		env["LOCAL_RANK"] = strconv.Itoa(w.LocalRank)
	}
	if w.Device != nil && visible == "" {
		delete(env, "CUDA_VISIBLE_DEVICES")
	}
	if d := w.Device; d != nil {
		if visible != "" {
			env["CUDA_DEVICE_ORDER"] = gpu.OrderPCI
		}
		env["GPULAUNCH_GPU_INDEX"] = strconv.Itoa(d.Index)
		env["GPULAUNCH_GPU_UUID"] = d.UUID
		env["GPULAUNCH_GPU_PCI"] = d.PCIBusID
	}
	return env
}

// WorkerVariables returns the names of the variables beginning with GPULAUNCH_ that workers get. A
// launcher that is started by a worker inherits them.
func WorkerVariables() []string {
	return append([]string{"GPULAUNCH_LOCAL_RANK", "GPULAUNCH_CPUS", "GPULAUNCH_NUMA_NODES"},
		deviceNames...)
}

// deviceNames are the variables about a worker's device. A launcher around this one may have set
// them; a worker without a device must not inherit them.
var deviceNames = []string{"GPULAUNCH_GPU_INDEX", "GPULAUNCH_GPU_UUID", "GPULAUNCH_GPU_PCI"}

// defaultNames are the planned variables that are only defaults: an inherited value overrides them.
var defaultNames = []string{"OMP_NUM_THREADS", "NCCL_IB_HCA", "UCX_NET_DEVICES"}

// Environ returns the whole environment of a worker: what it inherits, then what the plan sets,
// then what the attempt adds. Later values override earlier ones, except that the plan's defaults
// (OMP_NUM_THREADS, NCCL_IB_HCA, UCX_NET_DEVICES) do not override an inherited value.
func (w Worker) Environ(inherited []string, added map[string]string) []string {
	env := maps.Clone(w.Env)
	for _, name := range defaultNames {
		if lookup(inherited, name) != "" {
			delete(env, name)
		}
	}
	return MergeEnviron(inherited, env, added)
}

// lookup returns the value of a variable. Like getenv(3), it takes the first of several. A variable
// that is empty counts as not set.
func lookup(environ []string, name string) string {
	prefix := name + "="
	for _, entry := range environ {
		if value, ok := strings.CutPrefix(entry, prefix); ok {
			return value
		}
	}
	return ""
}

// MergeEnviron returns an inherited environment with variables added. Later maps override earlier
// ones and the inherited values. It leaves out what a launcher around this one has said about its
// own worker's device. The added variables are sorted, so that two starts of one plan are identical
// to the byte.
func MergeEnviron(inherited []string, added ...map[string]string) []string {
	merged := map[string]string{}
	for _, set := range added {
		maps.Copy(merged, set)
	}
	environ := make([]string, 0, len(inherited)+len(merged))
	for _, entry := range inherited {
		name, _, _ := strings.Cut(entry, "=")
		if _, ok := merged[name]; !ok && !slices.Contains(deviceNames, name) {
			environ = append(environ, entry)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(merged)) {
		environ = append(environ, name+"="+merged[name])
	}
	return environ
}

func joinInts(list []int) string {
	words := make([]string, len(list))
	for i, n := range list {
		words[i] = fmt.Sprint(n)
	}
	return strings.Join(words, ",")
}
