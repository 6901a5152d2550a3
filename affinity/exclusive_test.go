package affinity

import (
	"math/rand/v2"
	"strings"
	"testing"
)

func TestExclusiveOverlap(t *testing.T) {
	topo := mustRead(t, grid(2, 1, 4, 1).write(t)) // node 0: 0-3, node 1: 4-7
	unknown, zero, one := Locality{NUMANode: -1}, Locality{NUMANode: 0}, Locality{NUMANode: 1}
	crossing := Locality{NUMANode: -1, CPUs: CPUs(2, 3, 4, 5)}
	for _, test := range []struct {
		name   string
		locs   []Locality
		want   string
		shared bool
	}{
		{"unknown takes what is left", []Locality{zero, unknown}, "0-3 4-7", false},
		{"order does not matter", []Locality{unknown, zero}, "4-7 0-3", false},
		{"nothing is left", []Locality{zero, one, unknown}, "0-2 4-5 3,6-7", false},
		{"evened out", []Locality{zero, unknown, unknown, unknown}, "0-1 2-3 4-5 6-7", false},
		{"crossing sets", []Locality{zero, crossing, one}, "0-2 3-5 6-7", false},
		{"just enough", []Locality{unknown, unknown, unknown, unknown, zero, zero, zero, zero},
			"4 5 6 7 0 1 2 3", false},
		{"one too many", []Locality{zero, zero, zero, zero, zero, one}, "0 0 1 2 3 4-7", true},
		{"an unknown too many", []Locality{zero, zero, zero, zero, one, one, one, one, unknown},
			"0 1 2 3 4 5 6 7 0-7", true},
	} {
		t.Run(test.name, func(t *testing.T) {
			bindings, warnings, err := topo.BindAll(inMode(ModeExclusive), test.locs)
			if err != nil {
				t.Fatal(err)
			}
			if got := strings.Join(cpuLists(bindings), " "); got != test.want {
				t.Errorf("got %s, want %s", got, test.want)
			}
			if shared := len(warnings) > 0; shared != test.shared {
				t.Errorf("warnings: %q", warnings)
			}
		})
	}
}

// TestSlicesProperties binds workers on random machines with unequal cores. The slices of one set
// must be disjoint, must cover the set, and must not split the threads of a core.
func TestSlicesProperties(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	for range 300 {
		topo := randomMachine(r)
		k := 1 + r.IntN(len(topo.Cores))
		locs := make([]Locality, k)
		for i := range locs {
			locs[i].NUMANode = -1
		}
		bindings, warnings, err := topo.BindAll(inMode(ModeExclusive), locs)
		if err != nil || len(warnings) > 0 {
			t.Fatalf("%d workers on %v: %q, %v", k, topo.Cores, warnings, err)
		}
		var all CPUSet
		for _, b := range bindings {
			if b.CPUs.intersects(all) {
				t.Fatalf("%d workers on %v share CPUs: %v", k, topo.Cores, cpuLists(bindings))
			}
			all = all.Union(b.CPUs)
			for _, core := range topo.Cores {
				if core.CPUs.intersects(b.CPUs) && !core.CPUs.SubsetOf(b.CPUs) {
					t.Fatalf("%d workers split core %s: %v", k, core.CPUs, cpuLists(bindings))
				}
			}
		}
		if !all.Equal(topo.Allowed) {
			t.Fatalf("%d workers got %s of %s", k, all, topo.Allowed)
		}
	}
}

// TestOverlapProperties gives workers random sets of cores. All must stay inside their sets, and
// none may share a core if it is possible that each has one of its own.
func TestOverlapProperties(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	possible := 0
	for range 500 {
		topo := randomMachine(r)
		locs := make([]Locality, 1+r.IntN(6))
		for i := range locs {
			locs[i] = Locality{NUMANode: -1, CPUs: randomCores(r, topo)}
			if i > 0 && r.IntN(3) == 0 {
				locs[i] = locs[i-1]
			}
		}
		bindings, warnings, err := topo.BindAll(inMode(ModeExclusive), locs)
		if err != nil {
			t.Fatal(err)
		}
		for i, b := range bindings {
			if b.CPUs.IsEmpty() || !b.CPUs.SubsetOf(locs[i].CPUs) {
				t.Fatalf("worker %d of %v got %s", i, locs, b.CPUs)
			}
		}
		if canMatch(topo, locs) {
			possible++
			if len(warnings) > 0 {
				t.Fatalf("%v could all have a core of their own, but got %v: %q", locs,
					cpuLists(bindings), warnings)
			}
		}
	}
	if possible < 100 {
		t.Errorf("only %d machines had enough cores: this tests nothing", possible)
	}
}

func randomMachine(r *rand.Rand) *Topology {
	topo := &Topology{}
	for cpu := 0; len(topo.Cores) < 1+r.IntN(12); {
		var set CPUSet
		for range 1 + r.IntN(4) {
			set = set.Union(CPUs(cpu))
			cpu++
		}
		topo.Cores = append(topo.Cores, Core{CPUs: set})
		topo.Allowed = topo.Allowed.Union(set)
	}
	topo.Online = topo.Allowed
	return topo
}

func randomCores(r *rand.Rand, topo *Topology) CPUSet {
	set := topo.Cores[r.IntN(len(topo.Cores))].CPUs
	for _, core := range topo.Cores {
		if r.IntN(3) == 0 {
			set = set.Union(core.CPUs)
		}
	}
	return set
}

// canMatch reports whether every worker can have a core of its own. It tries all possibilities.
func canMatch(topo *Topology, locs []Locality) bool {
	taken := make([]bool, len(topo.Cores))
	var try func(worker int) bool
	try = func(worker int) bool {
		if worker == len(locs) {
			return true
		}
		for c, core := range topo.Cores {
			if !taken[c] && core.CPUs.intersects(locs[worker].CPUs) {
				taken[c] = true
				if try(worker + 1) {
					return true
				}
				taken[c] = false
			}
		}
		return false
	}
	return try(0)
}
