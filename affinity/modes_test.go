package affinity

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/gpulaunch/gpulaunch/affinity/affinitytest"
)

// chiplets returns a machine of two packages with two nodes each. A node has four cores of two
// threads and two L3s.
func chiplets() synthetic {
	m := grid(2, 2, 4, 2)
	m.l3s = nil
	for first := 0; first < 16; first += 2 {
		m.l3s = append(m.l3s, fmt.Sprintf("%d-%d,%d-%d", first, first+1, first+16, first+17))
	}
	return m
}

func policy(t *testing.T, text string) Policy {
	t.Helper()
	p, err := ParsePolicy(text)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// onNodes returns a locality on each of the nodes. The node -1 is an unknown one.
func onNodes(nodes ...int) []Locality {
	locs := make([]Locality, len(nodes))
	for i, node := range nodes {
		locs[i] = Locality{Name: fmt.Sprintf("GPU %d", i), NUMANode: node}
	}
	return locs
}

func TestBindAll(t *testing.T) {
	whole := mustRead(t, chiplets().write(t))
	confined := *whole
	// Node 0 has 1,17 of its first L3 and 2-3,19 of the second. Node 1 has 4-5,20-21.
	confined.Allowed = parseList(t, "1-5,17,19-21")
	noL3 := *whole
	noL3.L3s = nil
	halfL3 := *whole
	halfL3.L3s = whole.L3s[4:] // none in the first package
	for _, test := range []struct {
		name, mode string
		threads    Threads
		topo       *Topology
		locs       []Locality
		want       string
		warning    string
	}{
		{"socket", "socket", "", whole, onNodes(0, 1, 3, -1), "0-7,16-23 0-7,16-23 8-15,24-31 0-31",
			""},
		{"socket, confined", "socket", "", &confined, onNodes(1), "1-5,17,19-21", ""},
		{"socket, not allowed", "socket", "", &confined, onNodes(2), "1-5,17,19-21",
			"GPU 0: none of its package's CPUs 8-15,24-31 is allowed (allowed: 1-5,17,19-21); " +
				"using the whole machine, CPUs 1-5,17,19-21"},
		{"core-complex", "core-complex", "", whole, onNodes(1, 3, 1, 1),
			"4-5,20-21 12-13,28-29 6-7,22-23 4-5,20-21", ""},
		{"core-complex, the largest first", "core-complex", "", &confined, onNodes(0, 0, 0),
			"2-3,19 1,17 2-3,19", ""},
		{"core-complex, unknown", "core-complex", "", whole, onNodes(-1, -1), "0-1,16-17 2-3,18-19",
			""},
		{"core-complex, one of them unknown", "core-complex", "", whole, onNodes(0, -1),
			"0-1,16-17 2-3,18-19", ""},
		{"core-complex, the unknown one first", "core-complex", "", whole, onNodes(-1, 0, 0),
			"4-5,20-21 0-1,16-17 2-3,18-19", ""},
		{"core-complex, as many as L3s", "core-complex", "", whole,
			onNodes(-1, -1, -1, -1, 0, 0, 1, 3),
			"6-7,22-23 8-9,24-25 10-11,26-27 12-13,28-29 " +
				"0-1,16-17 2-3,18-19 4-5,20-21 14-15,30-31", ""},
		{"core-complex without L3s, a shared device", "core-complex", "", &noL3,
			append(onNodes(0), onNodes(0)...), "0-3,16-19 0-3,16-19",
			"GPU 0: no L3 cache is known for CPUs 0-3,16-19; using all of them"},
		{"core-complex without L3s", "core-complex", "", &noL3, onNodes(0, 3, 0),
			"0-3,16-19 12-15,28-31 0-3,16-19",
			"GPU 0, GPU 2: no L3 cache is known for CPUs 0-3,16-19; using all of them\n" +
				"GPU 1: no L3 cache is known for CPUs 12-15,28-31; using all of them"},
		{"core-complex with some L3s", "core-complex", "", &halfL3, onNodes(0, 3),
			"0-3,16-19 12-13,28-29",
			"GPU 0: no L3 cache is known for CPUs 0-3,16-19; using all of them"},
		{"single", "single", "", whole, onNodes(0, 0, 1), "0,16 2,18 4,20", ""},
		{"single, in turn", "single", "", whole, onNodes(0, 0, 0, 0, 0, 0, 1),
			"0,16 1,17 2,18 3,19 0,16 1,17 4,20",
			"7 workers cannot each have a core of their own: of the 5 cores that they use, " +
				"2 are shared; start fewer workers"},
		{"single, the unknown one on another node", "single", "", whole, onNodes(-1, 0, 0, 0, 0),
			"4,20 0,16 1,17 2,18 3,19", ""},
		{"single, one thread", "single", ThreadsOnePerCore, whole, onNodes(0, 1), "0 4", ""},
		{"node, one thread per core", "node", ThreadsOnePerCore, whole, onNodes(0, 3), "0-3 12-15",
			""},
		{"the lowest allowed thread", "node", ThreadsOnePerCore, &confined, onNodes(0), "1-3", ""},
		{"exclusive, one thread per core", "exclusive", ThreadsOnePerCore, whole, onNodes(0, 0),
			"0-1 2-3", ""},
		{"core-complex, one thread per core", "core-complex", ThreadsOnePerCore, whole,
			onNodes(0, 0), "0-1 2-3", ""},
		{"all threads", "node", ThreadsAll, whole, onNodes(0), "0-3,16-19", ""},
		{"none", "none", ThreadsOnePerCore, whole, onNodes(0), "0-31",
			"ignoring the choice of one hardware thread per core: " +
				"affinity mode none binds nothing"},
		{"map", "map=31;0-3,16;7", "", whole, onNodes(0, 99), "31 0-3,16", ""},
		{"map, one thread per core", "map=31;0-3,16", ThreadsOnePerCore, whole, onNodes(0, 0),
			"31 0-3", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			req := Request{Policy: policy(t, test.mode), Threads: test.threads}
			bindings, warnings, err := test.topo.BindAll(req, test.locs)
			if err != nil {
				t.Fatal(err)
			}
			if got := strings.Join(cpuLists(bindings), " "); got != test.want {
				t.Errorf("got %s, want %s", got, test.want)
			}
			if got := strings.Join(warnings, "\n"); got != test.warning {
				t.Errorf("warnings\n%s\nwant\n%s", got, test.warning)
			}
		})
	}
}

func TestSpreadAll(t *testing.T) {
	whole := mustRead(t, chiplets().write(t))
	confined := *whole
	confined.Allowed = parseList(t, "3-9,19-25")
	noL3 := *whole
	noL3.L3s = nil
	for _, test := range []struct {
		mode    string
		topo    *Topology
		workers int
		want    string
		warning string
	}{
		{"socket", whole, 1, "0-31", ""},
		{"socket", whole, 4, "0-7,16-23 0-7,16-23 8-15,24-31 8-15,24-31", ""},
		// The second of hwloc's parts is in both packages.
		{"socket", &confined, 2, "3-7,19-23 3-9,19-25", ""},
		{"core-complex", whole, 2, "0-1,16-17 8-9,24-25", ""},
		{"core-complex", whole, 9,
			"0-1,16-17 2-3,18-19 4-5,20-21 6-7,22-23 8-9,24-25 10-11,26-27 12-13,28-29 " +
				"14-15,30-31 0-1,16-17", ""},
		{"core-complex", &confined, 4, "3,19 4-5,20-21 6-7,22-23 8-9,24-25", ""},
		{"core-complex", &noL3, 8,
			"0-3,16-19 0-3,16-19 4-7,20-23 4-7,20-23 8-11,24-27 8-11,24-27 12-15,28-31 12-15,28-31",
			"no L3 cache is known on this machine; binding to NUMA nodes instead"},
		{"single", whole, 4, "0,16 4,20 8,24 12,28", ""},
		{"single", &confined, 8, "3,19 4,20 5,21 6,22 7,23 8,24 9,25 3,19",
			"8 workers cannot each have a core of their own: of the 7 cores that they use, " +
				"1 is shared; start fewer workers"},
		{"map=3;4-5", &confined, 2, "3 4-5", ""},
	} {
		req := Request{Policy: policy(t, test.mode)}
		bindings, warnings, err := test.topo.SpreadAll(req, test.workers)
		if err != nil {
			t.Fatal(err)
		}
		if got := strings.Join(cpuLists(bindings), " "); got != test.want {
			t.Errorf("%s, %d workers: %s, want %s", test.mode, test.workers, got, test.want)
		}
		if got := strings.Join(warnings, "\n"); got != test.warning {
			t.Errorf("%s, %d workers: warnings %q, want %q", test.mode, test.workers, got,
				test.warning)
		}
	}
}

// TestRequestErrors checks every reason for which a request is refused, for workers with and
// without devices.
func TestRequestErrors(t *testing.T) {
	topo := mustRead(t, grid(1, 1, 4, 1).write(t))
	topo.Online, topo.Allowed = CPUs(0, 1, 2, 3), CPUs(0, 1, 2)
	for _, test := range []struct {
		req  Request
		want string
	}{
		{Request{}, `unknown affinity mode ""`},
		{Request{Policy: Policy{Mode: "sideways"}}, `unknown affinity mode "sideways"`},
		{Request{Policy: Policy{Mode: ModeNode}, Threads: "few"},
			`unknown choice of hardware threads "few"`},
		{Request{Policy: policy(t, "map=0")}, "affinity map: too few sets, 1 for 2 workers"},
		{Request{Policy: policy(t, "map=0;1,3")},
			"affinity map, set 1: this process may not use CPUs 3 (allowed: 0-2)"},
		{Request{Policy: policy(t, "map=0;1;2,7-9")},
			"affinity map, set 2: CPUs 7-9 do not exist or are offline (online: 0-3)"},
		{Request{Policy: Policy{Mode: ModeMap, Map: []CPUSet{CPUs(0), {}}}},
			"affinity map, set 1 is empty"},
	} {
		_, _, err := topo.BindAll(test.req, onNodes(0, 0))
		_, _, errPlain := topo.SpreadAll(test.req, 2)
		for _, err := range []error{err, errPlain} {
			affinitytest.WantError(t, fmt.Sprintf("%+v", test.req), err, test.want)
		}
	}
}

func TestStrict(t *testing.T) {
	topo := mustRead(t, grid(2, 2, 2, 1).write(t)) // node n has the CPUs 2n and 2n+1
	topo.Allowed = CPUs(0, 1, 6)
	for _, test := range []struct {
		mode string
		node int
		want string // "": no error
	}{
		{"node", 0, ""},
		{"node", 3, ""},
		{"node", -1, ""},
		{"node", 1,
			"GPU 0: none of its local CPUs 2-3 is allowed (allowed: 0-1,6); " +
				"allow some of them, or turn strict affinity off"},
		{"exclusive", 2, "GPU 0: none of its local CPUs 4-5 is allowed"},
		{"single", 2, "GPU 0: none of its local CPUs 4-5 is allowed"},
		{"core-complex", 2, "GPU 0: none of its local CPUs 4-5 is allowed"},
		{"socket", 2, ""},
		{"none", 2, ""},
		{"map=0", 2, ""},
	} {
		req := Request{Policy: policy(t, test.mode), Strict: true}
		_, warnings, err := topo.BindAll(req, onNodes(test.node))
		affinitytest.WantError(t, fmt.Sprintf("%s, node %d", test.mode, test.node), err, test.want)
		if len(warnings) > 0 {
			t.Errorf("%s, node %d: warnings %q", test.mode, test.node, warnings)
		}
		req.Strict = false
		_, warnings, err = topo.BindAll(req, onNodes(test.node))
		if err != nil || (len(warnings) > 0) != (test.want != "") {
			t.Errorf("%s, node %d, not strict: %q, %v", test.mode, test.node, warnings, err)
		}
	}
}

// TestStrictWithAbsentCPUs has devices whose place is given by CPUs or a node that the machine does
// not have, with and without something that knows better.
func TestStrictWithAbsentCPUs(t *testing.T) {
	topo := mustRead(t, grid(2, 2, 2, 1).write(t)) // node n has the CPUs 2n and 2n+1
	for _, test := range []struct {
		name string
		loc  Locality
		want string // "": no error
	}{
		{"NVML", Locality{NUMANode: -1, Reported: CPUs(64, 65)},
			"GPU 0: the device library says its CPUs are 64-65, but none of them is online here " +
				"(online: 0-7); nothing else says which CPUs are near it: turn strict affinity off"},
		{"sysfs", Locality{NUMANode: -1, CPUs: CPUs(64)}, "GPU 0: sysfs local_cpus says"},
		{"no such node", Locality{NUMANode: 9}, "GPU 0: its NUMA node 9 does not exist"},
		{"all three", Locality{NUMANode: 9, CPUs: CPUs(64), Reported: CPUs(65)},
			"(online: 0-7); its NUMA node 9 does not exist on this machine; nothing else"},
		{"the node is known", Locality{NUMANode: 1, Reported: CPUs(64, 65)}, ""},
		{"some are there", Locality{NUMANode: -1, Reported: CPUs(0, 65)}, ""},
		{"nothing is known", Locality{NUMANode: -1}, ""},
	} {
		test.loc.Name = "GPU 0"
		for _, mode := range []Mode{ModeNode, ModeSocket, ModeExclusive, ModeSingle} {
			req := Request{Policy: Policy{Mode: mode}, Strict: true}
			_, _, err := topo.BindAll(req, []Locality{test.loc})
			affinitytest.WantError(t, fmt.Sprint(test.name, ", ", mode), err, test.want)
			if _, _, err := topo.BindAll(inMode(mode), []Locality{test.loc}); err != nil {
				t.Errorf("%s, %s, not strict: %v", test.name, mode, err)
			}
		}
		req := Request{Policy: Policy{Mode: ModeNone}, Strict: true}
		if _, warnings, err := topo.BindAll(req, []Locality{test.loc}); err != nil ||
			len(warnings) > 0 {
			t.Errorf("%s, none: %q, %v", test.name, warnings, err)
		}
	}
}

// TestWarnOnceAboutADevice has workers that share a device whose sources disagree.
func TestWarnOnceAboutADevice(t *testing.T) {
	topo := mustRead(t, grid(2, 2, 2, 1).write(t))
	shared := Locality{Name: "GPU 0", NUMANode: 2, Reported: CPUs(0, 1)}
	other := Locality{Name: "GPU 1", NUMANode: 3, Reported: CPUs(0, 1)}
	locs := []Locality{shared, other, shared, other, shared}
	_, warnings, err := topo.BindAll(inMode(ModeNode), locs)
	want := []string{
		"GPU 0: the device library says its CPUs are 0-1, NUMA node 2 says 4-5; using the device " +
			"library",
		"GPU 1: the device library says its CPUs are 0-1, NUMA node 3 says 6-7; using the device " +
			"library",
	}
	if !slices.Equal(warnings, want) || err != nil {
		t.Errorf("%q, %v", warnings, err)
	}
	locs[1].NUMANode, locs[3].NUMANode = 2, 2 // the same trouble
	_, warnings, err = topo.BindAll(inMode(ModeNode), locs)
	if err != nil || len(warnings) != 1 || !strings.HasPrefix(warnings[0], "GPU 0, GPU 1: the ") {
		t.Errorf("%q, %v", warnings, err)
	}
}
