package affinity

import (
	"cmp"
	"slices"
	"strings"
	"testing"
)

// TestTorchrunExamples has the examples in torchrun's documentation of its binding modes, and what
// follows from that text. A GPU's CPUs are those of its NUMA node, those of all nodes of its
// socket, its share of the node's physical cores (the first GPUs get one more), or an L3 of the
// node. The GPUs take the L3s in turn, starting with the one that has the most CPUs.
func TestTorchrunExamples(t *testing.T) {
	eight := grid(1, 2, 8, 2) // one socket; node 0 has the cores 0-7, node 1 has 8-15
	eight.l3s = []string{"0-3,16-19", "4-7,20-23", "8-11,24-27", "12-15,28-31"}
	unequal := grid(1, 2, 8, 2)
	unequal.l3s = []string{"0-1,16-17", "2-7,18-23", "8-15,24-31"}
	for _, test := range []struct {
		name, mode string
		machine    synthetic
		nodes      []int
		want       string
	}{
		{"GPU 3 on node 1", "node", grid(2, 1, 4, 1), []int{0, 0, 1, 1}, "0-3 0-3 4-7 4-7"},
		{"socket 0 has GPU 3 and the nodes 0-1", "socket", grid(2, 2, 2, 1), []int{3, 2, 3, 1},
			"4-7 4-7 4-7 0-3"},
		{"one node per socket", "socket", grid(2, 1, 4, 1), []int{0, 1}, "0-3 4-7"},
		{"16 cores, GPUs 2 and 3", "exclusive", grid(2, 1, 16, 2), []int{0, 0, 1, 1},
			"0-7,32-39 8-15,40-47 16-23,48-55 24-31,56-63"},
		{"two L3s, GPUs 2 and 3", "core-complex", eight, []int{0, 0, 1, 1},
			"0-3,16-19 4-7,20-23 8-11,24-27 12-15,28-31"},
		{"more GPUs than L3s", "core-complex", eight, []int{0, 0, 0},
			"0-3,16-19 4-7,20-23 0-3,16-19"},
		{"the L3 with more CPUs first", "core-complex", unequal, []int{0, 0},
			"2-7,18-23 0-1,16-17"},
		// Torchrun would say 0-2 3-5 6-7 8-9. We follow hwloc: slice i of 4 ends at core 10(i+1)/4.
		{"10 cores for 4 GPUs", "exclusive", grid(1, 1, 10, 1), []int{0, 0, 0, 0},
			"0-1 2-4 5-6 7-9"},
	} {
		t.Run(test.name, func(t *testing.T) {
			topo := mustRead(t, test.machine.write(t))
			req := Request{Policy: policy(t, test.mode)}
			bindings, warnings, err := topo.BindAll(req, onNodes(test.nodes...))
			if err != nil || len(warnings) > 0 {
				t.Errorf("%q, %v", warnings, err)
			}
			if got := strings.Join(cpuLists(bindings), " "); got != test.want {
				t.Errorf("got %s, want %s", got, test.want)
			}
		})
	}
}

// TestTorchrunAgrees compares bindings with torchrun's rules, for devices on each node of every
// machine, wherever we do not follow hwloc instead.
func TestTorchrunAgrees(t *testing.T) {
	compared := map[Mode]int{}
	forEachMachine(t, func(t *testing.T, topo *Topology) {
		for _, node := range topo.Nodes {
			for _, gpus := range []int{1, 2, 3, 4, 8} {
				nodes := slices.Repeat([]int{node.ID}, gpus)
				for mode, rule := range torchrunRules {
					want := rule(topo, node.CPUs.Intersect(topo.Allowed), gpus)
					if want == nil {
						continue
					}
					bindings, _, err := topo.BindAll(inMode(mode), onNodes(nodes...))
					if err != nil {
						t.Fatal(err)
					}
					if got := strings.Join(cpuLists(bindings), " "); got != lists(want) {
						t.Errorf("%s, %d GPUs on node %d: got %s, torchrun %s", mode, gpus, node.ID,
							got, lists(want))
					}
					compared[mode]++
				}
			}
		}
	})
	for mode := range torchrunRules {
		if compared[mode] < 50 {
			t.Errorf("%s: compared only %d times", mode, compared[mode])
		}
	}
}

func lists(sets []CPUSet) string {
	var texts []string
	for _, set := range sets {
		texts = append(texts, set.String())
	}
	return strings.Join(texts, " ")
}

// torchrunRules return the sets for GPUs whose node has these allowed CPUs. They return nil where
// torchrun fails or where we follow hwloc instead.
var torchrunRules = map[Mode]func(topo *Topology, node CPUSet, gpus int) []CPUSet{
	ModeNode: func(_ *Topology, node CPUSet, gpus int) []CPUSet {
		if node.IsEmpty() {
			return nil // torchrun fails
		}
		return slices.Repeat([]CPUSet{node}, gpus)
	},
	ModeSocket:      torchrunSocket,
	ModeExclusive:   torchrunExclusive,
	ModeCoreComplex: torchrunCoreComplex,
}

// torchrunSocket assumes that every node belongs to the socket of its lowest allowed CPU. Torchrun
// fails when a node has no such CPU.
func torchrunSocket(topo *Topology, node CPUSet, gpus int) []CPUSet {
	socketOf := func(set CPUSet) int {
		return slices.IndexFunc(topo.Packages, func(p Package) bool {
			return p.CPUs.Contains(set.Min())
		})
	}
	var socket CPUSet
	for _, n := range topo.Nodes {
		set := n.CPUs.Intersect(topo.Allowed)
		switch {
		case set.IsEmpty():
			return nil
		case !n.CPUs.SubsetOf(topo.Packages[socketOf(set)].CPUs):
			return nil // torchrun assigns a node that spans sockets to one of them
		case socketOf(set) == socketOf(node):
			socket = socket.Union(set)
		}
	}
	return slices.Repeat([]CPUSet{socket}, gpus)
}

// torchrunExclusive orders cores by their lowest CPU, and gives the remaining cores to the first
// GPUs. hwloc orders them by its tree, counts their threads, and spreads the remaining cores. This
// returns nil where that makes a difference.
func torchrunExclusive(topo *Topology, node CPUSet, gpus int) []CPUSet {
	var cores []CPUSet
	for _, core := range topo.Cores {
		if set := core.CPUs.Intersect(node); !set.IsEmpty() {
			cores = append(cores, set)
		}
	}
	sorted := slices.IsSortedFunc(cores, func(a, b CPUSet) int {
		return cmp.Compare(a.Min(), b.Min())
	})
	unequal := slices.ContainsFunc(cores, func(c CPUSet) bool { return c.Len() != cores[0].Len() })
	if len(cores) == 0 || len(cores)%gpus != 0 || !sorted || unequal {
		return nil
	}
	sets := make([]CPUSet, gpus)
	for i, core := range cores {
		gpu := i / (len(cores) / gpus)
		sets[gpu] = sets[gpu].Union(core)
	}
	return sets
}

// torchrunCoreComplex returns nil without L3s. Torchrun uses the largest cache, which its
// documentation says is an L3.
func torchrunCoreComplex(topo *Topology, node CPUSet, gpus int) []CPUSet {
	type complex struct{ first, count int }
	var order []complex
	parts := map[complex]CPUSet{}
	var covered CPUSet
	for _, l3 := range topo.L3s {
		if part := l3.CPUs.Intersect(node); !part.IsEmpty() {
			key := complex{l3.CPUs.Min(), part.Len()}
			parts[key] = part
			order = append(order, key)
			covered = covered.Union(part)
		}
	}
	if len(order) == 0 || !covered.Equal(node) {
		return nil
	}
	slices.SortFunc(order, func(a, b complex) int {
		return cmp.Or(b.count-a.count, a.first-b.first)
	})
	sets := make([]CPUSet, gpus)
	for i := range sets {
		sets[i] = parts[order[i%len(order)]]
	}
	return sets
}

// TestTorchrunUnknownNode checks where we differ on purpose: torchrun treats node -1 as node 0.
func TestTorchrunUnknownNode(t *testing.T) {
	topo := mustRead(t, grid(2, 1, 4, 1).write(t))
	bindings, _, err := topo.BindAll(inMode(ModeNode), onNodes(-1))
	if err != nil || bindings[0].CPUs.String() != "0-7" {
		t.Errorf("%v, %v, want 0-7", cpuLists(bindings), err)
	}
}
