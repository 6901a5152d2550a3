package affinity

import (
	"fmt"
	"slices"
	"strings"
)

// Binding is where one worker runs.
type Binding struct {
	// CPUs are the CPUs that the worker is bound to: at least one, and all allowed CPUs in mode
	// none.
	CPUs CPUSet `json:"cpus"`
	// Nodes are the NUMA nodes of the CPUs, in ascending order.
	Nodes []int `json:"numa_nodes"`
	// Threads is how many threads the worker should compute with (OMP_NUM_THREADS): the number of
	// its physical cores, where a core that n workers share counts as 1/n. It is rounded down, but
	// is at least 1.
	Threads int `json:"threads"`
}

// Request says how to bind workers.
type Request struct {
	Policy
	// Threads chooses among the hardware threads of the CPUs that a worker gets by its mode. In
	// mode none, which binds nothing, it is ignored with a warning.
	Threads Threads
	// Strict makes it an error if none of the CPUs near a device is allowed, and if what is known
	// about its place names only CPUs or a NUMA node that the machine does not have.
	Strict bool
}

// BindAll returns a binding for each worker that has a device. There is one worker for each
// locality, in the same order.
//
// A worker gets CPUs from those near its device that are allowed. If none of these is allowed, they
// are those of the device's NUMA node, else of its package, else of the whole machine; with Strict
// it is an error. All allowed CPUs are near a device of which nothing is known. In mode exclusive,
// workers whose devices have the same CPUs get disjoint runs of whole cores. If the CPUs of devices
// overlap without being the same, the cores are divided as evenly as possible. No worker shares a
// core as long as each can have one of its own. In mode single, every worker gets one core out of
// those that it would get in mode exclusive; if there are more workers than cores, they take the
// cores in turn.
//
// Each warning is one line that names the devices. BindAll fails if the request is invalid or no
// CPU is allowed.
func (t *Topology) BindAll(
	req Request, locs []Locality,
) (bindings []Binding, warnings []string, err error) {
	if err := t.check(req, len(locs)); err != nil {
		return nil, nil, err
	}
	tree := t.tree()
	sets, warnings, err := t.nearSets(req, locs)
	if err != nil {
		return nil, nil, err
	}
	var more []string
	switch req.Mode {
	case ModeExclusive:
		sets = exclusive(tree, sets)
	case ModeSingle:
		sets = single(tree, sets)
	case ModeCoreComplex:
		sets, more = t.assignComplexes(sets, locs)
	}
	bindings, shared := t.bindings(req, tree, sets)
	return bindings, append(append(warnings, more...), shared...), nil
}

// SpreadAll returns bindings for workers without a device. It spreads them over the machine's tree
// of packages, NUMA nodes, L3s and cores, so that each gets a part of it.
//
// In mode exclusive, a worker is bound to its part. In the modes node and socket, it is bound to
// all allowed CPUs of the NUMA nodes or packages that its part has CPUs of. The parts are those of
// hwloc-distrib. They may share a core if there are more workers than cores, and also if some
// branches of the tree are much larger than others; in mode exclusive, a warning says so. In the
// modes core-complex and single, a worker gets one L3 or one core. These are evenly spaced in the
// tree's order, and workers take them in turn if there are more workers.
//
// Each warning is one line. SpreadAll fails if the request is invalid, there is no worker or no CPU
// is allowed.
func (t *Topology) SpreadAll(
	req Request, workers int,
) (bindings []Binding, warnings []string, err error) {
	if workers < 1 {
		return nil, nil, fmt.Errorf("cannot bind %d workers: there must be at least one", workers)
	}
	if err := t.check(req, workers); err != nil {
		return nil, nil, err
	}
	tree := t.tree()
	sets, warnings := t.spreadSets(req, tree, workers)
	bindings, shared := t.bindings(req, tree, sets)
	return bindings, append(warnings, shared...), nil
}

func (t *Topology) check(req Request, workers int) error {
	if t.Allowed.IsEmpty() {
		return fmt.Errorf("this process may not use any CPU (online: %s)", t.Online)
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

// nearSets returns, for each worker, the CPUs that its own are then taken from.
func (t *Topology) nearSets(
	req Request, locs []Locality,
) (sets []CPUSet, warnings []string, err error) {
	sets = make([]CPUSet, len(locs))
	var all namedWarnings
	for i, loc := range locs {
		switch req.Mode {
		case ModeNone:
			sets[i] = t.Allowed
		case ModeMap:
			sets[i] = req.Map[i]
		default:
			loc.Name = nameOf(loc, i)
			var texts []string
			if sets[i], texts, err = t.resolve(req, loc); err != nil {
				return nil, nil, err
			}
			for _, text := range texts {
				all.add(loc.Name, text)
			}
		}
	}
	return sets, all.lines(), nil
}

// namedWarnings are warnings about devices. Those with the same text become one line, because
// devices of one kind have the same trouble, and because workers may share a device.
type namedWarnings struct {
	texts []string
	names [][]string
}

func (w *namedWarnings) add(name, text string) {
	i := slices.Index(w.texts, text)
	if i < 0 {
		i = len(w.texts)
		w.texts, w.names = append(w.texts, text), append(w.names, nil)
	}
	if !slices.Contains(w.names[i], name) {
		w.names[i] = append(w.names[i], name)
	}
}

func (w *namedWarnings) lines() (lines []string) {
	for i, text := range w.texts {
		lines = append(lines, strings.Join(w.names[i], ", ")+": "+text)
	}
	return lines
}

func nameOf(loc Locality, worker int) string {
	if loc.Name != "" {
		return loc.Name
	}
	return fmt.Sprintf("device %d", worker)
}

// spreadSets returns the CPUs of workers without a device, with all hardware threads.
func (t *Topology) spreadSets(
	req Request, tree cpuTree, workers int,
) (sets []CPUSet, warnings []string) {
	switch req.Mode {
	case ModeMap:
		return req.Map[:workers], nil
	case ModeSingle:
		return pickEvenly(cpuSets(tree.restrict(t.Allowed).cores()), workers), nil
	case ModeCoreComplex:
		if l3s := t.complexesInOrder(); len(l3s) > 0 {
			return pickEvenly(l3s, workers), nil
		}
		warnings = []string{"no L3 cache is known on this machine; binding to NUMA nodes instead"}
	}
	sets = distribute([]*domain{tree.restrict(t.Allowed)}, workers)
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

// wholeNodes returns set and all CPUs of the nodes that it has CPUs of.
func (t *Topology) wholeNodes(set CPUSet) CPUSet {
	whole := set
	for _, n := range t.Nodes {
		if n.CPUs.intersects(set) {
			whole = whole.Union(n.CPUs)
		}
	}
	return whole
}

// wholePackages returns set and all CPUs of the packages that it has CPUs of.
func (t *Topology) wholePackages(set CPUSet) CPUSet {
	whole := set
	for _, p := range t.Packages {
		if p.CPUs.intersects(set) {
			whole = whole.Union(p.CPUs)
		}
	}
	return whole
}

func (t *Topology) bindings(
	req Request, tree cpuTree, sets []CPUSet,
) (bindings []Binding, warnings []string) {
	use := newCoreUse(tree.root.cores(), sets)
	bindings = make([]Binding, len(sets))
	for i, set := range sets {
		if req.Threads == ThreadsOnePerCore && req.Mode != ModeNone {
			set = use.onePerCore(set)
		}
		bindings[i] = Binding{CPUs: set, Nodes: t.nodesOf(set), Threads: use.threads(set)}
	}
	if req.Threads == ThreadsOnePerCore && req.Mode == ModeNone {
		warnings = append(warnings, "ignoring the choice of one hardware thread per core: "+
			"affinity mode none binds nothing")
	}
	used, shared := use.shared()
	if shared > 0 && (req.Mode == ModeExclusive || req.Mode == ModeSingle) {
		warnings = append(warnings, sharedWarning(req.Mode, len(sets), used, shared))
	}
	if warning := t.unequalWarning(sets); warning != "" && req.Mode != ModeMap {
		warnings = append(warnings, warning)
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
	return fmt.Sprintf("%d workers cannot %s: of the %d cores that they use, %d %s shared; "+
		"start fewer workers", workers, what, used, shared, verb)
}
