package affinity

import "fmt"

// Binding is what one worker gets.
type Binding struct {
	// CPUs are what the worker is bound to. Never empty; in mode none all allowed CPUs.
	CPUs CPUSet `json:"cpus"`
	// Nodes are the NUMA nodes that the CPUs belong to, ascending.
	Nodes []int `json:"numa_nodes"`
	// Threads is a good number of threads for computing (OMP_NUM_THREADS): the physical cores of the CPUs, each divided
	// by the number of workers on it, rounded down, at least 1.
	Threads int `json:"threads"`
}

// Bind decides the CPUs of workers that have a device, one for each locality, in their order.
//
// A device's CPUs are those near it that are allowed. When none of these is, they widen to its NUMA node, its package
// and the whole machine. In mode exclusive the workers whose devices have the same CPUs get disjoint runs of whole cores
// of them. Where devices' CPUs overlap without being the same, the cores are divided as evenly as the sets permit. Nobody
// shares a core as long as each can have one of its own.
//
// Each warning is one line that names the devices. It fails when the mode is unknown or no CPU is allowed.
func (t *Topology) Bind(mode Mode, locs []Locality) (bindings []Binding, warnings []string, err error) {
	if err := t.check(mode); err != nil {
		return nil, nil, err
	}
	m := t.machine()
	sets := make([]CPUSet, len(locs))
	for i, loc := range locs {
		sets[i] = t.Allowed
		if mode != ModeNone {
			if loc.Name == "" {
				loc.Name = fmt.Sprintf("device %d", i)
			}
			var warned []string
			sets[i], warned = t.resolve(loc)
			warnings = append(warnings, warned...)
		}
	}
	if mode == ModeExclusive {
		sets = exclusive(m, sets)
	}
	bindings, shared := t.bindings(mode, m, sets)
	return bindings, append(warnings, shared...), nil
}

// BindCPUOnly decides the CPUs of workers without a device. They are spread over the machine's tree: package, NUMA
// node, L3, core. In mode exclusive each gets its part of the tree, in mode node all allowed CPUs of the NUMA nodes that
// its part touches. The parts are hwloc's, which may share a core where the branches of the tree are very unequal, as
// well as where there are more workers than cores; in mode exclusive a warning says so.
//
// Each warning is one line. It fails when the mode is unknown, there is no worker or no CPU is allowed.
func (t *Topology) BindCPUOnly(mode Mode, workers int) (bindings []Binding, warnings []string, err error) {
	if err := t.check(mode); err != nil {
		return nil, nil, err
	}
	if workers < 1 {
		return nil, nil, fmt.Errorf("cannot bind %d workers; there must be at least one", workers)
	}
	m := t.machine()
	sets := distribute([]*domain{m.part(t.Allowed)}, workers)
	for i := range sets {
		switch mode {
		case ModeNone:
			sets[i] = t.Allowed
		case ModeNode:
			sets[i] = t.wholeNodes(sets[i])
		}
	}
	bindings, warnings = t.bindings(mode, m, sets)
	return bindings, warnings, nil
}

func (t *Topology) check(mode Mode) error {
	if _, err := ParseMode(string(mode)); err != nil {
		return err
	}
	if t.Allowed.IsEmpty() {
		return fmt.Errorf("no CPU is allowed to this process (online: %s)", t.Online)
	}
	return nil
}

// wholeNodes returns set with all allowed CPUs of the nodes that it touches.
func (t *Topology) wholeNodes(set CPUSet) CPUSet {
	whole := set
	for _, n := range t.Nodes {
		if n.CPUs.intersects(set) {
			whole = whole.Union(n.CPUs)
		}
	}
	return whole.Intersect(t.Allowed)
}

func (t *Topology) bindings(mode Mode, m machine, sets []CPUSet) ([]Binding, []string) {
	use := newCoreUse(m.root.cores(), sets)
	bindings := make([]Binding, len(sets))
	for i, set := range sets {
		bindings[i] = Binding{CPUs: set, Nodes: t.nodesOf(set), Threads: use.threads(set)}
	}
	used, shared := use.shared()
	if mode == ModeExclusive && shared > 0 {
		return bindings, []string{sharedWarning(len(sets), used, shared)}
	}
	return bindings, nil
}

func sharedWarning(workers, used, shared int) string {
	verb := "are"
	if shared == 1 {
		verb = "is"
	}
	return fmt.Sprintf("%d workers cannot all be exclusive: of the %d cores that they use, %d %s shared; start fewer workers",
		workers, used, shared, verb)
}
