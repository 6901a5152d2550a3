package plan

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/gpulaunch/gpulaunch/affinity"
	"github.com/gpulaunch/gpulaunch/gpu"
)

// bind chooses the CPUs of each worker. It also returns warnings.
func (m Machine) bind(o Options, units []gpu.Unit, count int) ([]affinity.Binding, []string,
	error) {
	req := affinity.Request{Policy: o.Affinity, Threads: o.Threads, Strict: o.StrictAffinity}
	if len(units) == 0 {
		return m.Topology.SpreadAll(req, count)
	}
	return m.Topology.BindAll(req, m.localities(units, count))
}

// localities returns where the workers' devices are.
func (m Machine) localities(units []gpu.Unit, count int) []affinity.Locality {
	locs := make([]affinity.Locality, count)
	for i := range locs {
		locs[i] = m.locality(units[i%len(units)].Device)
	}
	return locs
}

// locality returns where a GPU is. If that is unknown, its NUMANode is -1.
func (m Machine) locality(d gpu.Device) affinity.Locality {
	if loc, ok := m.Localities[d.Index]; ok {
		return loc
	}
	return affinity.Locality{Name: d.Label(), NUMANode: -1}
}

// memoryNodes returns the nodes of the memory policy for each worker, nil without a policy. It also
// returns warnings.
func (m Machine) memoryNodes(o Options, bindings []affinity.Binding) ([][]int, []string) {
	if o.Memory == affinity.MemoryNone {
		return make([][]int, len(bindings)), nil
	}
	sets := make([]affinity.CPUSet, len(bindings))
	for i, b := range bindings {
		sets[i] = b.CPUs
	}
	return m.Topology.MemoryNodes(sets)
}

// withIDs returns the units with IDs of a kind for whole GPUs. "" leaves the IDs as they are.
func withIDs(units []gpu.Unit, by DeviceID) ([]gpu.Unit, error) {
	units = slices.Clone(units)
	for i, u := range units {
		switch {
		case u.Instance != nil || by == "" || u.Device.Integrated:
		case by == DeviceIndex:
			units[i].ID = strconv.Itoa(u.Device.Index)
		case u.Device.UUID == "":
			return nil,
				fmt.Errorf("--device-id=uuid cannot work, because the UUID of %s is unknown: use "+
					"--device-id=index", u.Device.Label())
		default:
			units[i].ID = u.Device.UUID
		}
	}
	return units, nil
}

// nics chooses the nearest RDMA device of each worker, or "". It also returns warnings.
func (m Machine) nics(o Options, units []gpu.Unit, count int) (nics []string, warnings []string) {
	nics = make([]string, count)
	switch {
	case o.NIC != NICClosest:
	case len(units) == 0:
		warnings = append(warnings,
			"--nic=closest has no effect: workers without a GPU are near no RDMA device in "+
				"particular")
	case len(m.NICs) == 0:
		warnings = append(warnings,
			"--nic=closest has no effect: /sys/class/infiniband has no RDMA device")
	default:
		nics = affinity.ClosestNICs(m.localities(units, count), m.NICs)
		var without []string
		for i, nic := range nics {
			label := units[i%len(units)].Device.Label()
			if nic == "" && !slices.Contains(without, label) { // workers may share a GPU
				without = append(without, label)
			}
		}
		if len(without) > 0 {
			warnings = append(warnings,
				fmt.Sprintf("--nic=closest has no effect for %s: no RDMA device has an active "+
					"port, or nobody knows where the GPU is", strings.Join(without, ", ")))
		}
	}
	return nics, warnings
}

// addDefaults adds the variables that a worker gets unless the user has set them.
func (m Machine) addDefaults(env map[string]string, o Options, threads, workers int, nic string) {
	if m.Quota > 0 { // more threads would only wait for each other
		threads = max(1, min(threads, int(m.Quota/float64(workers))))
	}
	defaults := map[string]string{"OMP_NUM_THREADS": fmt.Sprint(threads)}
	if nic != "" {
		// The "=" is needed because NCCL otherwise takes the name as a prefix: mlx5_1 would also
		// mean mlx5_10.
		defaults["NCCL_IB_HCA"], defaults["UCX_NET_DEVICES"] = "="+nic, nic+":"+m.port(nic)
	}
	for name, value := range defaults {
		if lookup(o.Environ, name) == "" {
			env[name] = value
		}
	}
}

// port returns the number of a device's first active port, or "1" if it has none.
func (m Machine) port(nic string) string {
	for _, n := range m.NICs {
		if n.Name != nic {
			continue
		}
		for _, p := range n.Ports {
			if p.State == "ACTIVE" {
				return fmt.Sprint(p.Number)
			}
		}
	}
	return "1"
}

// threadBindings are the variables with which OpenMP binds threads itself.
var threadBindings = []string{"GOMP_CPU_AFFINITY", "KMP_AFFINITY", "OMP_PROC_BIND"}

// threadWarnings warns about inherited variables with which OpenMP binds threads to CPUs itself, in
// all workers alike.
func (o Options) threadWarnings() (warnings []string) {
	if o.Affinity.Mode == affinity.ModeNone {
		return nil
	}
	for _, name := range threadBindings {
		value := lookup(o.Environ, name)
		harmless := func(word string) bool {
			return slices.Contains([]string{"false", "none", "disabled"}, word)
		}
		if value == "" || slices.ContainsFunc(strings.Split(strings.ToLower(value), ","),
			harmless) {
			continue
		}
		warnings = append(warnings,
			fmt.Sprintf("the inherited %s=%q has OpenMP bind threads by itself, which may undo "+
				"what workers are bound to: unset it, or use --affinity=none", name, value))
	}
	return warnings
}
