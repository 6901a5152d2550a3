package affinity

import (
	"fmt"
	"strings"
	"testing"

	"github.com/gpulaunch/gpulaunch/affinity/affinitytest"
	"github.com/gpulaunch/gpulaunch/affinity/internal/rootfs"
)

// TestHardCases binds workers near devices of captured machines that other programs get wrong.
func TestHardCases(t *testing.T) {
	const accelerators = "1b:00.0 1c:00.0 1d:00.0 1e:00.0 3d:00.0 3f:00.0 40:00.0 41:00.0"
	for _, test := range []struct {
		name, capture, mode string
		// PCI addresses, or node:N and all for localities without a device
		devices string
		want    string
		warning string // "": none
	}{
		{"8 devices on one of two nodes", "hwloc-32intel64-2p8co2t+8ve", "exclusive", accelerators,
			"0,16 1,17 2,18 3,19 4,20 5,21 6,22 7,23", ""},
		{"8 devices on one of two nodes", "hwloc-32intel64-2p8co2t+8ve", "single", accelerators,
			"0,16 1,17 2,18 3,19 4,20 5,21 6,22 7,23", ""},
		{"9 workers on 8 cores", "hwloc-32intel64-2p8co2t+8ve", "exclusive",
			accelerators + " 1b:00.0",
			"0,16 0,16 1,17 2,18 3,19 4,20 5,21 6,22 7,23",
			"9 workers cannot all be exclusive: of the 8 cores that they use, 1 is shared"},
		{"9 workers on 8 cores", "hwloc-32intel64-2p8co2t+8ve", "single", accelerators + " 1b:00.0",
			"0,16 1,17 2,18 3,19 4,20 5,21 6,22 7,23 0,16",
			"9 workers cannot each have a core of their own"},
		{"numa_node is -1", "ghw-accel-nvidia", "node", "00000000:06:00.0", "0-7", ""},
		{"numa_node is -1", "ghw-accel-nvidia", "exclusive", "00000000:06:00.0", "0-7", ""},
		{"GPU memory nodes", "hwloc-nvidiagpunumanodes", "exclusive",
			"0004:05:00.0 0004:06:00.0 0006:00:00.0", "0-3 4-7 8-15", ""},
		{"a GPU's own memory node", "hwloc-nvidiagpunumanodes", "node", "node:255", "0-15,88-103",
			""},
		{"cgroup", "hwloc-32amd64-4s2n4c-cgroup2", "exclusive", "all all", "0-2 3-5", ""},
		{"cgroup without the node", "hwloc-32amd64-4s2n4c-cgroup2", "node", "node:2", "0-5",
			"GPU 0: none of its local CPUs 8-11 is allowed (allowed: 0-5); " +
				"using the whole machine, CPUs 0-5"},
		{"cgroup without the socket", "hwloc-32amd64-4s2n4c-cgroup2", "socket", "node:2", "0-5",
			"GPU 0: none of its package's CPUs 8-15 is allowed (allowed: 0-5); " +
				"using the whole machine, CPUs 0-5"},
		{"offline siblings", "hwloc-16em64t-4s2c2t-offlines", "exclusive", "all all all all",
			"0,8 1,4,9,12 3,11 6-7,10,15", ""},
		{"offline siblings", "hwloc-16em64t-4s2c2t-offlines", "socket", "node:0", "0-1,3-4,6-12,15",
			""},
		{"a node without CPUs", "hwloc-fakememinitiators-1np2c+1npp+gi", "node",
			"node:4 node:7 node:10", "0-1,4-5 0-1,4-5 2-3,6-7", ""},
		{"node IDs with gaps", "hwloc-48amd64-4pa2n6c-sparse", "node", "node:73", "42-47", ""},
		{"big and little cores", "hwloc-20em64t-hybrid-1p6c2t+2ca4co1t", "single", "all all all",
			"0-1 8-9 15",
			"workers get cores of different speeds: local rank 0 has 1 performance core, local " +
				"rank 2 has 1 efficiency core; the others wait for the slowest"},
		{"big and little cores", "hwloc-20em64t-hybrid-1p6c2t+2ca4co1t", "exclusive", "all all",
			"0-9 10-19",
			"workers get cores of different speeds: local rank 0 has 5 performance cores, local " +
				"rank 1 has 1 performance core and 8 efficiency cores; the others wait"},
		{"big and little cores", "hwloc-20em64t-hybrid-1p6c2t+2ca4co1t", "exclusive", "all", "0-19",
			""},
		{"big and little cores", "hwloc-20em64t-hybrid-1p6c2t+2ca4co1t", "node", "all all",
			"0-19 0-19", ""},
		{"big and little cores", "hwloc-20em64t-hybrid-1p6c2t+2ca4co1t", "map=0;19", "all all",
			"0 19", ""},
		{"big and little cores of two clusters", "hwloc-nvidia-dgx-gb10", "exclusive", "all all",
			"0-9 10-19", ""},
		{"clusters with an L3 each", "hwloc-nvidia-dgx-gb10", "core-complex", "all all all",
			"0-9 10-19 0-9", ""},
	} {
		t.Run(test.name+", "+test.mode, func(t *testing.T) {
			root := affinitytest.Root(t, test.capture)
			topo := mustRead(t, root)
			var locs []Locality
			for i, device := range strings.Fields(test.devices) {
				locs = append(locs, placeOf(t, root, topo, device))
				locs[i].Name = fmt.Sprintf("GPU %d", i)
			}
			bindings, warnings, err := topo.BindAll(Request{Policy: policy(t, test.mode)}, locs)
			if err != nil {
				t.Fatal(err)
			}
			if cpus := strings.Join(cpuLists(bindings), " "); cpus != test.want {
				t.Errorf("got %s, want %s", cpus, test.want)
			}
			got := strings.Join(warnings, "\n")
			if !strings.HasPrefix(got, test.warning) || (got == "") != (test.warning == "") {
				t.Errorf("warnings\n%s\nwant\n%s", got, test.warning)
			}
			checkMemoryNodes(t, topo, bindings)
		})
	}
}

func placeOf(t *testing.T, root string, topo *Topology, device string) Locality {
	t.Helper()
	loc := Locality{NUMANode: -1}
	switch id, isNode := strings.CutPrefix(device, "node:"); {
	case isNode:
		fmt.Sscan(id, &loc.NUMANode)
	case device == "all":
		loc.CPUs = topo.Allowed
	default:
		var err error
		if loc, err = ReadLocality(root, device); err != nil {
			t.Fatal(err)
		}
	}
	return loc
}

// checkMemoryNodes checks that every worker gets memory, and none that is not for programs.
func checkMemoryNodes(t *testing.T, topo *Topology, bindings []Binding) {
	t.Helper()
	for i, b := range bindings {
		nodes, warning := memoryOf(topo, b.CPUs)
		if len(nodes) == 0 {
			t.Errorf("worker %d has no memory: %s", i, warning)
		}
		for _, id := range nodes {
			if n, ok := topo.node(id); !ok || n.MemoryBytes == 0 || n.DeviceMemory {
				t.Errorf("worker %d gets the memory of node %d: %+v", i, id, n)
			}
		}
	}
}

// TestStrictOnCapture has a device whose socket has no allowed CPU, and a strict request.
func TestStrictOnCapture(t *testing.T) {
	topo := mustRead(t, affinitytest.Root(t, "hwloc-32amd64-4s2n4c-cgroup2"))
	strict := Request{Policy: Policy{Mode: ModeExclusive}, Strict: true}
	_, _, err := topo.BindAll(strict, onNodes(0, 2))
	affinitytest.WantError(t, "strict", err,
		"GPU 1: none of its local CPUs 8-11 is allowed (allowed: 0-5)")
	_, _, err = topo.BindAll(strict, onNodes(0, 1))
	affinitytest.WantError(t, "strict, with allowed CPUs", err, "")
}

// TestDeviceMemoryNodes finds the memory of GPUs by what the kernel says or by what the driver
// says.
func TestDeviceMemoryNodes(t *testing.T) {
	want := map[string]string{
		"hwloc-nvidiagpunumanodes":              "250-255",
		"hwloc-fakememinitiators-1np2c+1npp+gi": "7,10",
	}
	for name := range affinitytest.Captures(t) {
		topo := mustRead(t, affinitytest.Root(t, name))
		if got := deviceMemory(topo); got != want[name] {
			t.Errorf("%s: %q, want %q", name, got, want[name])
		}
	}
	// The same machine again, without one of the two sources or without both.
	source := affinitytest.Root(t, "hwloc-nvidiagpunumanodes")
	for without, want := range map[string]string{
		"/sys/devices/system/node/has_normal_memory": "250-255", // the driver still says it
		"/proc/driver": "250-255", // the kernel still says it
		"/proc/driver /sys/devices/system/node/has_normal_memory": "",
	} {
		root := t.TempDir()
		copyMachine(t, source, root, rootfs.Native(), strings.Fields(without)...)
		topo := mustRead(t, root)
		if got := deviceMemory(topo); got != want {
			t.Errorf("without %s: %q, want %q", without, got, want)
		}
	}
}

func deviceMemory(topo *Topology) string {
	var set CPUSet
	for _, n := range topo.Nodes {
		if n.DeviceMemory {
			set = set.Union(CPUs(n.ID))
		}
	}
	return set.String()
}
