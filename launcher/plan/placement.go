package plan

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/gpulaunch/gpulaunch/affinity"
	"github.com/gpulaunch/gpulaunch/gpu"
)

// bind gives each worker its CPUs.
func (m Machine) bind(o Options, units []gpu.Unit, count int) ([]affinity.Binding, []string,
	error) {
	req := affinity.Request{Policy: o.Affinity, Threads: o.Threads, Strict: o.StrictAffinity}
	if len(units) == 0 {
		return m.Topology.SpreadAll(req, count)
	}
	return m.Topology.BindAll(req, m.localities(units, count))
}

// localities gives the places of the workers' devices.
func (m Machine) localities(units []gpu.Unit, count int) []affinity.Locality {
	locs := make([]affinity.Locality, count)
	for i := range locs {
		locs[i] = m.locality(units[i%len(units)].Device)
	}
	return locs
}

// locality gives the place of a GPU, an unknown one when nobody said.
func (m Machine) locality(d gpu.Device) affinity.Locality {
	if loc, ok := m.Localities[d.Index]; ok {
		return loc
	}
	return affinity.Locality{Name: d.Label(), NUMANode: -1}
}

// renamed gives whole GPUs another kind of name; "" leaves them as they are.
func renamed(units []gpu.Unit, by DeviceID) ([]gpu.Unit, error) {
	units = slices.Clone(units)
	for i, u := range units {
		switch {
		case u.Instance != nil || by == "":
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

// nics gives each worker its nearest RDMA device, or "".
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
		for i, nic := range nics {
			if nic == "" {
				warnings = append(warnings,
					fmt.Sprintf("--nic=closest has no effect for %s: no RDMA device has an "+
						"active port, or nobody knows where the GPU is",
						units[i%len(units)].Device.Label()))
			}
		}
	}
	return nics, warnings
}

// addDefaults adds what a worker gets unless the user has set it.
func (m Machine) addDefaults(env map[string]string, o Options, threads, workers int, nic string) {
	if m.Quota > 0 { // more threads than that would only wait for each other
		threads = max(1, min(threads, int(m.Quota/float64(workers))))
	}
	defaults := map[string]string{"OMP_NUM_THREADS": fmt.Sprint(threads)}
	if nic != "" {
		// With "=", because NCCL takes a name for a prefix: mlx5_1 would mean mlx5_10, too.
		defaults["NCCL_IB_HCA"], defaults["UCX_NET_DEVICES"] = "="+nic, nic+":"+m.port(nic)
	}
	for name, value := range defaults {
		if lookup(o.Environ, name) == "" {
			env[name] = value
		}
	}
}

// port gives the number of a device's first active port, or "1".
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

// threadWarnings names the inherited variables with which OpenMP binds threads to CPUs by
// itself, in all workers alike.
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
