package affinity

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/gpulaunch/gpulaunch/affinity/affinitytest"
)

// forEachMachine runs a test on every captured machine and on some made-up ones.
func forEachMachine(t *testing.T, test func(t *testing.T, topo *Topology)) {
	machines := map[string]synthetic{
		"grid": grid(2, 2, 4, 2), "chiplets": chiplets(), "offline siblings": offlineSiblings,
	}
	for name, m := range machines {
		t.Run(name, func(t *testing.T) { test(t, mustRead(t, m.write(t))) })
	}
	t.Run("captures", func(t *testing.T) {
		for name := range affinitytest.Captures(t) {
			t.Run(name, func(t *testing.T) { test(t, mustRead(t, affinitytest.Root(t, name))) })
		}
	})
}

// TestEveryMode binds workers in every way on every machine. Every worker must get CPUs, all of
// which are allowed, and the same request must have the same result.
func TestEveryMode(t *testing.T) {
	forEachMachine(t, func(t *testing.T, topo *Topology) {
		own := Policy{Mode: ModeMap}
		for range 16 {
			own.Map = append(own.Map, CPUs(topo.Allowed.Min()))
		}
		policies := []Policy{own}
		for _, mode := range Modes() {
			policies = append(policies, Policy{Mode: mode})
		}
		for _, p := range policies {
			for _, workers := range []int{1, 3, 8, 16} {
				for name, locs := range places(topo, workers) {
					checkRequest(t, topo, p, fmt.Sprintf("%s, %d workers, %s", p, workers, name),
						func(req Request) ([]Binding, []string, error) {
							return topo.BindAll(req, locs)
						})
				}
				checkRequest(t, topo, p, fmt.Sprintf("%s, %d workers without devices", p, workers),
					func(req Request) ([]Binding, []string, error) {
						return topo.SpreadAll(req, workers)
					})
			}
		}
	})
}

// places returns ways to place devices on a machine: all on one node, on each node in turn, and
// partly or all unknown.
func places(topo *Topology, workers int) map[string][]Locality {
	ways := map[string][]Locality{}
	last := topo.Nodes[len(topo.Nodes)-1].ID
	for i := range workers {
		node := topo.Nodes[i%len(topo.Nodes)].ID
		ways["on each"] = append(ways["on each"], Locality{NUMANode: node})
		ways["on the last"] = append(ways["on the last"], Locality{NUMANode: last})
		ways["unknown"] = append(ways["unknown"], Locality{NUMANode: -1})
		if i%2 == 0 {
			node = -1
		}
		ways["partly unknown"] = append(ways["partly unknown"], Locality{NUMANode: node})
	}
	return ways
}

func checkRequest(
	t *testing.T, topo *Topology, p Policy, name string,
	bind func(Request) ([]Binding, []string, error),
) {
	t.Helper()
	all, warnings, err := bind(Request{Policy: p})
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	again, warningsAgain, _ := bind(Request{Policy: p})
	if !reflect.DeepEqual(all, again) || !slices.Equal(warnings, warningsAgain) {
		t.Errorf("%s: %v, and the second time %v", name, cpuLists(all), cpuLists(again))
	}
	one, _, err := bind(Request{Policy: p, Threads: ThreadsOnePerCore})
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	for i, b := range all {
		if b.CPUs.IsEmpty() || !b.CPUs.SubsetOf(topo.Allowed) || b.Threads < 1 || b.Nodes == nil {
			t.Errorf("%s: worker %d gets %+v", name, i, b)
		}
		if p.Mode != ModeNone {
			checkOnePerCore(t, topo, name, b.CPUs, one[i].CPUs)
		}
	}
	checkShares(t, topo, p.Mode, name, all, warnings)
}

// checkOnePerCore checks that one has, of each core, the lowest CPU in all.
func checkOnePerCore(t *testing.T, topo *Topology, name string, all, one CPUSet) {
	t.Helper()
	var want CPUSet
	for _, core := range topo.Cores {
		want = want.Union(CPUs(core.CPUs.Intersect(all).Min()))
	}
	if !one.Equal(want) {
		t.Errorf("%s: one thread per core of %s is %s, want %s", name, all, one, want)
	}
}

// checkShares checks what a mode promises about all workers together.
func checkShares(
	t *testing.T, topo *Topology, mode Mode, name string, bindings []Binding, warnings []string,
) {
	t.Helper()
	switch mode {
	case ModeExclusive, ModeSingle:
		users := map[int]int{}
		for _, b := range bindings {
			cores := coresOf(topo, b.CPUs)
			if mode == ModeSingle && len(cores) != 1 {
				t.Errorf("%s: one worker has the cores %v", name, cores)
			}
			for _, core := range cores {
				users[core]++
			}
		}
		shared := slices.ContainsFunc(topo.Cores, func(c Core) bool { return users[c.ID] > 1 })
		warned := slices.ContainsFunc(warnings, func(w string) bool {
			return w[0] >= '0' && w[0] <= '9' // "9 workers cannot …"
		})
		if shared != warned {
			t.Errorf("%s: shared cores %v, warnings %q", name, users, warnings)
		}
	case ModeCoreComplex:
		for _, b := range bindings {
			l3s := slices.DeleteFunc(slices.Clone(topo.L3s), func(c Cache) bool {
				return !c.CPUs.intersects(b.CPUs)
			})
			if len(l3s) > 1 {
				t.Errorf("%s: CPUs %s have %d L3s", name, b.CPUs, len(l3s))
			}
			if len(l3s) == 0 && len(warnings) == 0 {
				t.Errorf("%s: CPUs %s have no L3, and no warning says so", name, b.CPUs)
			}
		}
	case ModeSocket:
		for _, b := range bindings {
			if !topo.wholePackages(b.CPUs).Intersect(topo.Allowed).Equal(b.CPUs) {
				t.Errorf("%s: CPUs %s are not whole packages", name, b.CPUs)
			}
		}
	}
}

func coresOf(topo *Topology, cpus CPUSet) []int {
	var cores []int
	for _, core := range topo.Cores {
		if core.CPUs.intersects(cpus) {
			cores = append(cores, core.ID)
		}
	}
	return cores
}

// TestEnoughCores binds as many workers near the same CPUs as these have cores, and fewer. No
// worker may share a core.
func TestEnoughCores(t *testing.T) {
	forEachMachine(t, func(t *testing.T, topo *Topology) {
		for _, node := range topo.Nodes {
			near := node.CPUs.Intersect(topo.Allowed)
			for workers := 1; workers <= len(coresOf(topo, near)); workers++ {
				locs := make([]Locality, workers)
				for i := range locs {
					locs[i] = Locality{NUMANode: -1, CPUs: near}
				}
				for _, mode := range []Mode{ModeExclusive, ModeSingle} {
					bindings, warnings, err := topo.BindAll(inMode(mode), locs)
					if err != nil || strings.Contains(strings.Join(warnings, "\n"), "shared") {
						t.Fatalf("%s, %d workers on node %d: %q, %v", mode, workers, node.ID,
							warnings, err)
					}
					var all CPUSet
					for _, b := range bindings {
						if b.CPUs.intersects(all) {
							t.Errorf("%s, %d workers on node %d share: %v", mode, workers, node.ID,
								cpuLists(bindings))
						}
						all = all.Union(topo.wholeCores(b.CPUs))
					}
				}
			}
		}
	})
}

func (t *Topology) wholeCores(set CPUSet) CPUSet {
	for _, core := range t.Cores {
		if core.CPUs.intersects(set) {
			set = set.Union(core.CPUs)
		}
	}
	return set
}
