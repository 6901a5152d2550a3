package affinity

import (
	"strings"
	"testing"

	"github.com/gpulaunch/gpulaunch/affinity/affinitytest"
)

func TestResolve(t *testing.T) {
	two := grid(2, 2, 2, 1) // packages 0-3 and 4-7, node n has the CPUs 2n and 2n+1
	withEmptyNodes := grid(1, 3, 2, 1)
	withEmptyNodes.nodes[3], withEmptyNodes.nodes[4], withEmptyNodes.nodes[5] = "", "", ""
	withEmptyNodes.distances = map[int]string{
		3: "20 40 40 10 15 15", // nearest to 4 and 5, which have no CPUs, then to 0
		4: "30 20 20 15 10 15", // 1 and 2 are equally near
		5: "",                  // unknown
	}
	for _, test := range []struct {
		name    string
		machine synthetic
		allowed string
		loc     Locality
		want    string
		warning string
	}{
		{"node", two, "0-7", Locality{NUMANode: 1}, "2-3", ""},
		{"nothing known", two, "0-7", Locality{NUMANode: -1}, "0-7", ""},
		{"nothing known, not all allowed", two, "1-5", Locality{NUMANode: -1}, "1-5", ""},
		{"no such node", two, "0-7", Locality{NUMANode: 9}, "0-7",
			"GPU 0: its NUMA node 9 does not exist on this machine; ignoring it"},
		{"node unknown, CPUs known", two, "0-7",
			Locality{NUMANode: -1, CPUs: CPUs(4, 5)}, "4-5", ""},
		{"library only", two, "0-7", Locality{NUMANode: -1, Reported: CPUs(6, 7)}, "6-7", ""},
		{"all agree", two, "0-7",
			Locality{NUMANode: 2, CPUs: CPUs(4, 5), Reported: CPUs(4, 5)}, "4-5", ""},
		{"offline CPUs do not matter", two, "0-7",
			Locality{NUMANode: 2, CPUs: CPUs(4, 5, 99)}, "4-5", ""},
		{"library names only absent CPUs", two, "0-7",
			Locality{NUMANode: -1, Reported: CPUs(64, 65)}, "0-7",
			"GPU 0: the device library says its CPUs are 64-65, but none of them is online here " +
				"(online: 0-7); ignoring it"},
		{"sysfs names only absent CPUs, the node is known", two, "0-7",
			Locality{NUMANode: 1, CPUs: CPUs(64, 65)}, "2-3",
			"GPU 0: sysfs local_cpus says its CPUs are 64-65, but none of them is online here " +
				"(online: 0-7); ignoring it"},
		{"library disagrees", two, "0-7",
			Locality{NUMANode: 2, CPUs: CPUs(4, 5), Reported: CPUs(0, 1)}, "4-5",
			"GPU 0: sysfs local_cpus says its CPUs are 4-5, the device library says 0-1; " +
				"using sysfs local_cpus"},
		{"node disagrees with library", two, "0-7",
			Locality{NUMANode: 2, Reported: CPUs(0, 1)}, "0-1",
			"GPU 0: the device library says its CPUs are 0-1, NUMA node 2 says 4-5; " +
				"using the device library"},
		{"some allowed", two, "3-6", Locality{NUMANode: 1}, "3", ""},
		{"widened to the node", two, "2,4", Locality{NUMANode: -1, CPUs: CPUs(3)}, "2",
			"GPU 0: none of its local CPUs 3 is allowed (allowed: 2,4); " +
				"using its NUMA node, CPUs 2"},
		{"widened to the package", two, "0,4", Locality{NUMANode: 1}, "0",
			"GPU 0: none of its local CPUs 2-3 is allowed (allowed: 0,4); " +
				"using its package, CPUs 0"},
		{"widened to the machine", two, "4-7", Locality{NUMANode: 1}, "4-7",
			"GPU 0: none of its local CPUs 2-3 is allowed (allowed: 4-7); " +
				"using the whole machine, CPUs 4-7"},
		{"node without CPUs", withEmptyNodes, "0-5", Locality{NUMANode: 3}, "0-1", ""},
		{"node without CPUs, two equally near", withEmptyNodes, "0-5",
			Locality{NUMANode: 4}, "2-5", ""},
		{"node without CPUs or distances", withEmptyNodes, "0-5", Locality{NUMANode: 5}, "0-5", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			topo := mustRead(t, test.machine.write(t))
			topo.Allowed = parseList(t, test.allowed)
			test.loc.Name = "GPU 0"
			bindings, warnings, err := topo.BindAll(inMode(ModeNode), []Locality{test.loc})
			if err != nil {
				t.Fatal(err)
			}
			if got := bindings[0].CPUs.String(); got != test.want {
				t.Errorf("CPUs %s, want %s", got, test.want)
			}
			if got := strings.Join(warnings, "\n"); got != test.warning {
				t.Errorf("warnings\n%s\nwant\n%s", got, test.warning)
			}
		})
	}
}

// TestResolveNotAllowedNode has a device whose node and socket have no allowed CPU.
func TestResolveNotAllowedNode(t *testing.T) {
	topo := mustRead(t, affinitytest.Root(t, "hwloc-32amd64-4s2n4c-cgroup2"))
	bindings, warnings, err := topo.BindAll(inMode(ModeExclusive), onNodes(2))
	if err != nil || bindings[0].CPUs.String() != "0-5" {
		t.Errorf("%+v, %v, want CPUs 0-5", bindings, err)
	}
	if len(warnings) != 1 || !strings.HasPrefix(warnings[0], "GPU 0: none of its local CPUs") {
		t.Errorf("warnings: %q", warnings)
	}
}
