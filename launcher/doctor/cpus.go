package doctor

import (
	"fmt"
	"strconv"

	"github.com/gpulaunch/gpulaunch/affinity"
	"github.com/gpulaunch/gpulaunch/launcher/internal/text"
)

func topology(f Facts) []Result {
	t := f.Topology
	if f.TopologyErr != nil || t == nil {
		return one(bad(Fail, "mount /sys (a container's is read-only, and enough), or run with --affinity=none", "the CPUs cannot be read: %v", f.TopologyErr))
	}
	return one(good("%s, %s, %s", text.Plural(len(t.Nodes), "%d NUMA node", "%d NUMA nodes"),
		text.Plural(len(t.Cores), "%d core", "%d cores"), text.Plural(t.Online.Len(), "%d CPU", "%d CPUs")))
}

func allowedCPUs(f Facts) []Result {
	t := f.Topology
	switch {
	case t == nil || t.Allowed.IsEmpty():
		return one(untold("which CPUs may be used is not known"))
	case t.Allowed.Len() < t.Online.Len():
		return one(bad(Warn, "if the job is meant to have more: start it without taskset, with a larger cpuset (docker --cpuset-cpus, Slurm's --cpus-per-task)",
			"only %s of %d may be used: %s", text.Plural(t.Allowed.Len(), "%d CPU", "%d CPUs"), t.Online.Len(), t.Allowed))
	}
	return one(good("all %d CPUs may be used: %s", t.Online.Len(), t.Allowed))
}

// quota judges a limit on CPU time, with which more threads only wait for each other.
func quota(f Facts) []Result {
	switch {
	case f.QuotaErr != nil:
		return one(untold("%v", f.QuotaErr))
	case f.Quota == 0:
		return one(good("CPU time is not limited"))
	case f.Topology == nil:
		return one(untold("CPU time is limited to that of %s CPUs; how many there are is not known", decimal(f.Quota)))
	case f.Quota < float64(f.Topology.Allowed.Len()):
		return one(bad(Warn, "raise it (cpu.max of the control group, docker --cpus, the pod's CPU limit), or allow only as many CPUs",
			"CPU time is limited to that of %s CPUs, though %d may be used", decimal(f.Quota), f.Topology.Allowed.Len()))
	}
	return one(good("CPU time is limited to that of %s CPUs, and %d may be used", decimal(f.Quota), f.Topology.Allowed.Len()))
}

func decimal(n float64) string { return strconv.FormatFloat(n, 'g', 4, 64) }

// locality judges whether workers can be put near their GPUs.
func locality(f Facts) []Result {
	if len(f.Visible.Units) == 0 || f.Topology == nil {
		return nil // nothing to place, or topology has told
	}
	if nodesWithCPUs(f.Topology) < 2 {
		return one(good("one NUMA node: all CPUs are near all GPUs"))
	}
	var results []Result
	for _, d := range f.Inventory.Devices {
		if !f.admitted(d) || !d.Usable() {
			continue
		}
		near := nearCPUs(f.Topology, f.Localities[d.Index])
		switch {
		case near.IsEmpty():
			results = append(results, bad(Warn, "switch NUMA on in the firmware, or let the hypervisor pass it on; --affinity=map=… places workers by hand",
				"which CPUs are near %s is not known: its NUMA node is not told", named(d)))
		case near.Intersect(f.Topology.Allowed).IsEmpty():
			results = append(results, bad(Warn, "allow some of them, or take another GPU: its worker will run on a far node",
				"%s: none of its CPUs %s may be used (only %s)", named(d), near, f.Topology.Allowed))
		}
	}
	if results == nil {
		return one(good("the CPUs near each GPU are known, and some of them may be used"))
	}
	return results
}

func nodesWithCPUs(t *affinity.Topology) int {
	n := 0
	for _, node := range t.Nodes {
		if !node.CPUs.IsEmpty() {
			n++
		}
	}
	return n
}

// nearCPUs are those of the device's NUMA node, else those that its library tells; empty when neither is known. With a
// node without CPUs all that can be said is that it is known.
func nearCPUs(t *affinity.Topology, loc affinity.Locality) affinity.CPUSet {
	for _, node := range t.Nodes {
		if loc.NUMANode == node.ID {
			if node.CPUs.IsEmpty() {
				return t.Allowed
			}
			return node.CPUs
		}
	}
	return loc.Reported.Intersect(t.Online)
}

// size is a number of bytes for people.
func size(n uint64) string {
	units := []string{"bytes", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"}
	unit, value := 0, float64(n)
	for value >= 1024 && unit < len(units)-1 {
		value /= 1024
		unit++
	}
	return fmt.Sprintf("%s %s", strconv.FormatFloat(float64(int(value*10))/10, 'f', -1, 64), units[unit])
}
