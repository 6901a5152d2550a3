package affinity

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/gpulaunch/gpulaunch/affinity/affinitytest"
)

// inMode returns a request for nothing but a mode.
func inMode(mode Mode) Request { return Request{Policy: Policy{Mode: mode}} }

// offlineSiblings has the shape of hwloc's capture 16em64t-4s2c2t-offlines: CPUs 2, 5, 13 and 14
// are offline.
var offlineSiblings = synthetic{
	noOnlineFile: true,
	cores:        []string{"0,8", "4,12", "1,9", "3,11", "7,15", "6", "10"},
	packages:     []string{"0,4,8,12", "1,9", "6,10", "3,7,11,15"},
	files: map[string]string{
		cpuPath(1) + "/online":  "1",
		cpuPath(2) + "/online":  "0",
		cpuPath(5) + "/online":  "0",
		cpuPath(13) + "/online": "0",
		cpuPath(14) + "/online": "0",
	},
}

// cgroup2 allows the CPUs 0-5 of 32 (capture 32amd64-4s2n4c-cgroup2).
func cgroup2() synthetic {
	m := grid(4, 2, 4, 1)
	m.files = map[string]string{
		"/proc/mounts": "proc /proc proc rw 0 0\n" +
			"cgroup2 /cgroup cgroup2 rw 0 0",
		"/proc/self/cgroup":                 "0::/job",
		"/cgroup/cgroup.controllers":        "cpuset cpu io",
		"/cgroup/cpuset.cpus.effective":     "0-31",
		"/cgroup/job/cpuset.cpus.effective": "0-5",
	}
	return m
}

// coresOnly leaves out the parts of a machine that take many files.
func coresOnly(m synthetic) synthetic {
	return synthetic{cores: m.cores, nodes: m.nodes}
}

func TestExclusiveWorkedExamples(t *testing.T) {
	power := synthetic{
		cores:    []string{"0-3", "4-7", "8-11", "12-15", "88-91", "92-95", "96-99", "100-103"},
		packages: []string{"0-15", "88-103"},
		l3s:      []string{"0-7", "8-15", "88-95", "96-103"},
		nodes:    map[int]string{0: "0-15", 8: "88-103", 250: "", 255: ""},
	}
	for _, test := range []struct {
		name    string
		machine synthetic
		loc     Locality
		workers int
		want    string
	}{
		{"all devices on one of two nodes", grid(2, 1, 8, 2), Locality{NUMANode: 0}, 8,
			"0,16 1,17 2,18 3,19 4,20 5,21 6,22 7,23"},
		{"four threads a core", power, Locality{NUMANode: -1, CPUs: parseList(t, "0-15")}, 3,
			"0-3 4-7 8-15"},
		{"offline siblings", offlineSiblings, Locality{NUMANode: -1}, 4,
			"0,8 1,4,9,12 3,11 6-7,10,15"},
		{"cgroup", cgroup2(), Locality{NUMANode: -1}, 2, "0-2 3-5"},
		{"as many devices as unequal cores", synthetic{cores: []string{"0-3", "4"}},
			Locality{NUMANode: -1}, 2, "0-3 4"},
		{"more devices than cores", grid(1, 1, 2, 2), Locality{NUMANode: 0}, 3, "0,2 0,2 1,3"},
		{"more than 1024 CPUs", coresOnly(grid(2, 1, 320, 2)), Locality{NUMANode: 1}, 2,
			"320-479,960-1119 480-639,1120-1279"},
	} {
		t.Run(test.name, func(t *testing.T) {
			topo := mustRead(t, test.machine.write(t))
			locs := make([]Locality, test.workers)
			for i := range locs {
				locs[i] = test.loc
			}
			bindings, _, err := topo.BindAll(inMode(ModeExclusive), locs)
			if err != nil {
				t.Fatal(err)
			}
			if got := strings.Join(cpuLists(bindings), " "); got != test.want {
				t.Errorf("got %s, want %s", got, test.want)
			}
		})
	}
}

func TestBindModes(t *testing.T) {
	topo := mustRead(t, grid(2, 1, 4, 2).write(t))
	locs := []Locality{{NUMANode: 0}, {NUMANode: 0}, {NUMANode: 1}}
	for _, test := range []struct {
		mode Mode
		want []Binding
	}{
		{ModeNone, []Binding{
			{topo.Allowed, []int{0, 1}, 2},
			{topo.Allowed, []int{0, 1}, 2},
			{topo.Allowed, []int{0, 1}, 2},
		}},
		{ModeNode, []Binding{
			{parseList(t, "0-3,8-11"), []int{0}, 2},
			{parseList(t, "0-3,8-11"), []int{0}, 2},
			{parseList(t, "4-7,12-15"), []int{1}, 4},
		}},
		{ModeExclusive, []Binding{
			{parseList(t, "0-1,8-9"), []int{0}, 2},
			{parseList(t, "2-3,10-11"), []int{0}, 2},
			{parseList(t, "4-7,12-15"), []int{1}, 4},
		}},
	} {
		got, warnings, err := topo.BindAll(inMode(test.mode), locs)
		if err != nil || len(warnings) > 0 {
			t.Errorf("%s: warnings %q, error %v", test.mode, warnings, err)
		}
		if diff := cmp.Diff(test.want, got); diff != "" {
			t.Errorf("%s, -want +got:\n%s", test.mode, diff)
		}
	}
}

func TestSpreadAllInMode(t *testing.T) {
	topo := mustRead(t, grid(2, 2, 2, 2).write(t)) // node n has the cores 2n and 2n+1
	for _, test := range []struct {
		mode    Mode
		workers int
		want    string
		threads int
		warning string
	}{
		{ModeNone, 2, "0-15 0-15", 4, ""},
		{ModeNode, 2, "0-3,8-11 4-7,12-15", 4, ""},
		{ModeNode, 8, "0-1,8-9 0-1,8-9 2-3,10-11 2-3,10-11 4-5,12-13 4-5,12-13 6-7,14-15 6-7,14-15",
			1, ""},
		{ModeExclusive, 2, "0-3,8-11 4-7,12-15", 4, ""},
		{ModeExclusive, 4, "0-1,8-9 2-3,10-11 4-5,12-13 6-7,14-15", 2, ""},
		{ModeExclusive, 9, "0,8 0,8 1,9 2,10 3,11 4,12 5,13 6,14 7,15", 1,
			"9 workers cannot all be exclusive: of the 8 cores that they use, 1 is shared; " +
				"start fewer workers"},
	} {
		bindings, warnings, err := topo.SpreadAll(inMode(test.mode), test.workers)
		if err != nil {
			t.Fatal(err)
		}
		got, threads := strings.Join(cpuLists(bindings), " "), bindings[0].Threads
		if got != test.want || threads != test.threads {
			t.Errorf("%s, %d workers: %s with %d threads, want %s with %d",
				test.mode, test.workers, got, threads, test.want, test.threads)
		}
		if got := strings.Join(warnings, "\n"); got != test.warning {
			t.Errorf("%s, %d workers: warnings %q, want %q", test.mode, test.workers, got,
				test.warning)
		}
	}
}

func TestBindErrors(t *testing.T) {
	topo := mustRead(t, grid(1, 1, 2, 1).write(t))
	_, _, err := topo.BindAll(inMode("sideways"), nil)
	affinitytest.WantError(t, "unknown mode", err,
		`"sideways": use none, node, socket, exclusive, core-complex or single`)
	if _, _, err := topo.SpreadAll(inMode(ModeNode), 0); err == nil {
		t.Error("bound no worker")
	}
	_, _, err = (&Topology{}).BindAll(inMode(ModeNode), []Locality{{}})
	affinitytest.WantError(t, "no CPU", err, "this process may not use any CPU")
	bindings, warnings, err := topo.BindAll(inMode(ModeExclusive), nil)
	if len(bindings) != 0 || len(warnings) != 0 || err != nil {
		t.Errorf("no device: %v, %v, %v", bindings, warnings, err)
	}
	if nodes := (&Topology{}).UsableNodes(); len(nodes) != 1 || nodes[0] != 0 {
		t.Errorf("usable nodes of nothing: %v", nodes)
	}
}

// TestBindBareTopology binds workers to CPUs about which nothing but the numbers is known.
func TestBindBareTopology(t *testing.T) {
	topo := &Topology{Allowed: CPUs(4, 5, 6)}
	for k := 1; k < 6; k++ {
		checkBindings(t, topo, k)
	}
}

func TestParseMode(t *testing.T) {
	for _, mode := range Modes() {
		if got, err := ParseMode(string(mode)); err != nil || got != mode {
			t.Errorf("%s: %s, %v", mode, got, err)
		}
	}
	if _, err := ParseMode(""); err == nil {
		t.Error("the empty name is a mode")
	}
}
