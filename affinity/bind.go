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

// Request is how workers are to be bound.
type Request struct {
	Policy
	// Threads leaves out hardware threads at the end, whatever the mode; in mode none, which binds nothing, it is
	// ignored with a warning.
	Threads Threads
	// Strict makes it an error that none of the CPUs near a device is allowed.
	Strict bool
}

// BindAll decides the CPUs of workers that have a device, one for each locality, in their order.
//
// A device's CPUs are those near it that are allowed. When none of these is, they widen to its NUMA node, its package
// and the whole machine, or with Strict it fails. In mode exclusive the workers whose devices have the same CPUs get
// disjoint runs of whole cores of them. Where devices' CPUs overlap without being the same, the cores are divided as
// evenly as the sets permit. Nobody shares a core as long as each can have one of its own. Mode single gives each one
// core of those that it would have in mode exclusive; workers that are more than the cores take these in turn.
//
// Each warning is one line that names the devices. It fails when the request is not valid or no CPU is allowed.
func (t *Topology) BindAll(req Request, locs []Locality) (bindings []Binding, warnings []string, err error) {
	if err := t.check(req, len(locs)); err != nil {
		return nil, nil, err
	}
	m := t.machine()
	sets, warnings, err := t.nearSets(req, locs)
	if err != nil {
		return nil, nil, err
	}
	var more []string
	switch req.Mode {
	case ModeExclusive:
		sets = exclusive(m, sets)
	case ModeSingle:
		sets = single(m, sets)
	case ModeCoreComplex:
		sets, more = t.takeComplexes(sets, locs)
	}
	bindings, shared := t.bindings(req, m, sets)
	return bindings, append(append(warnings, more...), shared...), nil
}

// SpreadAll decides the CPUs of workers without a device. They are spread over the machine's tree: package, NUMA node,
// L3, core. In mode exclusive each gets its part of the tree, in the modes node and socket all allowed CPUs of the NUMA
// nodes or packages that its part touches. The parts are hwloc's, which may share a core where the branches of the tree
// are very unequal, as well as where there are more workers than cores; in mode exclusive a warning says so. In the
// modes core-complex and single each gets one L3 or one core, at equal steps through all of them in the tree's order, or
// in turn where the workers are more.
//
// Each warning is one line. It fails when the request is not valid, there is no worker or no CPU is allowed.
func (t *Topology) SpreadAll(req Request, workers int) (bindings []Binding, warnings []string, err error) {
	if workers < 1 {
		return nil, nil, fmt.Errorf("cannot bind %d workers; there must be at least one", workers)
	}
	if err := t.check(req, workers); err != nil {
		return nil, nil, err
	}
	m := t.machine()
	sets, warnings := t.spreadSets(req, m, workers)
	bindings, shared := t.bindings(req, m, sets)
	return bindings, append(warnings, shared...), nil
}

func (t *Topology) check(req Request, workers int) error {
	if t.Allowed.IsEmpty() {
		return fmt.Errorf("no CPU is allowed to this process (online: %s)", t.Online)
	}
	if req.Threads != "" {
		if _, err := ParseThreads(string(req.Threads)); err != nil {
			return err
		}
	}
	if req.Mode == ModeMap {
		return t.checkMap(req.Map, workers)
	}
	_, err := ParseMode(string(req.Mode))
	return err
}

// nearSets returns the CPUs that each worker's share is taken from.
func (t *Topology) nearSets(req Request, locs []Locality) (sets []CPUSet, warnings []string, err error) {
	sets = make([]CPUSet, len(locs))
	for i, loc := range locs {
		switch req.Mode {
		case ModeNone:
			sets[i] = t.Allowed
		case ModeMap:
			sets[i] = req.Map[i]
		default:
			loc.Name = nameOf(loc, i)
			var warned []string
			if sets[i], warned, err = t.resolve(req, loc); err != nil {
				return nil, nil, err
			}
			warnings = append(warnings, warned...)
		}
	}
	return sets, warnings, nil
}

func nameOf(loc Locality, worker int) string {
	if loc.Name != "" {
		return loc.Name
	}
	return fmt.Sprintf("device %d", worker)
}

// spreadSets returns the sets of workers without a device, before hardware threads are left out.
func (t *Topology) spreadSets(req Request, m machine, workers int) (sets []CPUSet, warnings []string) {
	switch req.Mode {
	case ModeMap:
		return req.Map[:workers], nil
	case ModeSingle:
		return steps(leaves(m.part(t.Allowed).cores()), workers), nil
	case ModeCoreComplex:
		if l3s := t.complexesInOrder(); len(l3s) > 0 {
			return steps(l3s, workers), nil
		}
		warnings = []string{"no L3 cache is known on this machine; binding to NUMA nodes instead"}
	}
	sets = distribute([]*domain{m.part(t.Allowed)}, workers)
	for i := range sets {
		switch req.Mode {
		case ModeNone:
			sets[i] = t.Allowed
		case ModeNode, ModeCoreComplex:
			sets[i] = t.wholeNodes(sets[i]).Intersect(t.Allowed)
		case ModeSocket:
			sets[i] = t.wholePackages(sets[i]).Intersect(t.Allowed)
		}
	}
	return sets, warnings
}

// wholeNodes returns set with all CPUs of the nodes that it touches.
func (t *Topology) wholeNodes(set CPUSet) CPUSet {
	whole := set
	for _, n := range t.Nodes {
		if n.CPUs.intersects(set) {
			whole = whole.Union(n.CPUs)
		}
	}
	return whole
}

// wholePackages returns set with all CPUs of the packages that it touches.
func (t *Topology) wholePackages(set CPUSet) CPUSet {
	whole := set
	for _, p := range t.Packages {
		if p.CPUs.intersects(set) {
			whole = whole.Union(p.CPUs)
		}
	}
	return whole
}

func (t *Topology) bindings(req Request, m machine, sets []CPUSet) (bindings []Binding, warnings []string) {
	use := newCoreUse(m.root.cores(), sets)
	bindings = make([]Binding, len(sets))
	for i, set := range sets {
		if req.Threads == ThreadsOnePerCore && req.Mode != ModeNone {
			set = use.onePerCore(set)
		}
		bindings[i] = Binding{CPUs: set, Nodes: t.nodesOf(set), Threads: use.threads(set)}
	}
	if req.Threads == ThreadsOnePerCore && req.Mode == ModeNone {
		warnings = append(warnings, "one hardware thread per core is not done in affinity mode none, which binds nothing")
	}
	used, shared := use.shared()
	if shared > 0 && (req.Mode == ModeExclusive || req.Mode == ModeSingle) {
		warnings = append(warnings, sharedWarning(req.Mode, len(sets), used, shared))
	}
	return bindings, warnings
}

func sharedWarning(mode Mode, workers, used, shared int) string {
	what, verb := "all be exclusive", "are"
	if mode == ModeSingle {
		what = "each have a core of their own"
	}
	if shared == 1 {
		verb = "is"
	}
	return fmt.Sprintf("%d workers cannot %s: of the %d cores that they use, %d %s shared; start fewer workers",
		workers, what, used, shared, verb)
}
