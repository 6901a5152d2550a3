package doctor

import (
	"strconv"

	"github.com/gpulaunch/gpulaunch/affinity"
	"github.com/gpulaunch/gpulaunch/launcher/plural"
)

func topology(f Facts) []Result {
	t := f.Topology
	if f.TopologyErr != nil || t == nil {
		return problem(Fail,
			"mount /sys (read-only, as in a container, is enough), or run with --affinity=none",
			"cannot read the CPUs: %v", f.TopologyErr)
	}
	return ok("%s, %s, %s", plural.Of(len(t.Nodes), "%d NUMA node", "%d NUMA nodes"),
		plural.Of(len(t.Cores), "%d core", "%d cores"),
		plural.Of(t.Online.Len(), "%d CPU", "%d CPUs"))
}

func allowedCPUs(f Facts) []Result {
	t := f.Topology
	switch {
	case t == nil || t.Allowed.IsEmpty():
		return unknown("which CPUs may be used is not known")
	case t.Allowed.Len() < t.Online.Len():
		return problem(Warn,
			"if the job should have more, start it without taskset or with a larger cpuset "+
				"(docker --cpuset-cpus, Slurm's --cpus-per-task)",
			"only %s of %d may be used: %s",
			plural.Of(t.Allowed.Len(), "%d CPU", "%d CPUs"), t.Online.Len(), t.Allowed)
	}
	return ok("all %d CPUs may be used: %s", t.Online.Len(), t.Allowed)
}

// quota checks the limit on CPU time. If it allows less time than there are CPUs, more threads only
// wait for each other.
func quota(f Facts) []Result {
	limit := strconv.FormatFloat(f.Quota, 'g', 4, 64)
	allowed := 0
	if f.Topology != nil {
		allowed = f.Topology.Allowed.Len()
	}
	switch {
	case f.QuotaErr != nil:
		return unknown("%v", f.QuotaErr)
	case f.Quota == 0:
		return ok("CPU time is not limited")
	case f.Topology == nil:
		return unknown("CPU time is limited to that of %s CPUs; the number of CPUs is not known",
			limit)
	case f.Quota < float64(allowed):
		return problem(Warn,
			"raise it (cpu.max of the control group, docker --cpus, the pod's CPU limit), "+
				"or allow only as many CPUs",
			"CPU time is limited to that of %s CPUs, though %d may be used", limit, allowed)
	}
	return ok("CPU time is limited to that of %s CPUs, and %d may be used", limit, allowed)
}

// locality checks whether workers can be placed near their GPUs.
func locality(f Facts) []Result {
	if len(f.Visible.Units) == 0 || f.Topology == nil {
		return nil // there is nothing to place, or the topology check has failed already
	}
	if nodesWithCPUs(f.Topology) < 2 {
		return ok("one NUMA node: all CPUs are near all GPUs")
	}
	var results []Result
	for _, d := range f.Inventory.Devices {
		if !f.admitted(d) || !d.Usable() {
			continue
		}
		near := nearCPUs(f.Topology, f.Localities[d.Index])
		switch {
		case near.IsEmpty():
			results = append(results, problem(Warn,
				"turn on NUMA in the firmware, or let the hypervisor pass it on, "+
					"or place workers by hand with --affinity=map=…",
				"which CPUs are near %s is not known: nothing reports its NUMA node", nameOf(d))...)
		case near.Intersect(f.Topology.Allowed).IsEmpty():
			results = append(results, problem(Warn,
				"allow some of them, or use another GPU: otherwise its worker runs on a far node",
				"%s: none of its CPUs %s may be used (only %s)",
				nameOf(d), near, f.Topology.Allowed)...)
		}
	}
	if results == nil {
		return ok("the CPUs near each GPU are known, and some of them may be used")
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

// nearCPUs returns the CPUs of the GPU's NUMA node, else those that NVML reports for it. The set is
// empty if neither is known. For a node without CPUs it returns all allowed CPUs: the node is
// known, and no CPU is nearer than the others.
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
