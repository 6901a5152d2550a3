package affinity

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/gpulaunch/gpulaunch/affinity/affinitytest"
)

// memoryOf returns the nodes for the memory of one worker, and the warning about them.
func memoryOf(topo *Topology, cpus CPUSet) (nodes []int, warning string) {
	all, warnings := topo.MemoryNodes([]CPUSet{cpus})
	return all[0], strings.Join(warnings, "\n")
}

// TestMemoryNodesWarnOnce has workers whose CPUs have no memory, or no node. There is one warning
// of each kind, however many workers there are.
func TestMemoryNodesWarnOnce(t *testing.T) {
	m := grid(2, 2, 2, 1) // node n has the CPUs 2n and 2n+1
	m.files = map[string]string{nodePath(0) + "/meminfo": "", nodePath(1) + "/meminfo": ""}
	topo := mustRead(t, m.write(t))
	sets := func(lists ...string) (sets []CPUSet) {
		for _, list := range lists {
			sets = append(sets, parseList(t, list))
		}
		return sets
	}
	nodes, warnings := topo.MemoryNodes(sets("0", "1", "2", "4", "6-7"))
	const once = "the NUMA nodes of CPUs 0-2 (0-1) have no memory that this process may use; " +
		"using the nearest nodes that have some, 2-3"
	if fmt.Sprint(nodes) != "[[2 3] [2 3] [2 3] [2] [3]]" || strings.Join(warnings, "\n") != once {
		t.Errorf("%v, %q", nodes, warnings)
	}
	for i := range topo.Nodes {
		topo.Nodes[i].CPUs = CPUSet{} // as for nodes that claim each other's CPUs
	}
	nodes, warnings = topo.MemoryNodes(sets("4", "6", "5", "7"))
	const unknown = "nobody knows the NUMA node of CPUs 4-7; using the memory of all nodes that " +
		"have some, 2-3"
	if fmt.Sprint(nodes) != "[[2 3] [2 3] [2 3] [2 3]]" ||
		strings.Join(warnings, "\n") != unknown {
		t.Errorf("no node known: %v, %q", nodes, warnings)
	}
	if _, warnings := topo.MemoryNodes(nil); len(warnings) > 0 {
		t.Errorf("no worker: %q", warnings)
	}
}

func TestMemoryNodes(t *testing.T) {
	whole := grid(2, 2, 2, 1) // node n has the CPUs 2n and 2n+1
	without := func(nodes ...int) map[string]string {
		files := map[string]string{}
		for _, n := range nodes {
			files[nodePath(n)+"/meminfo"] = fmt.Sprintf("Node %d MemTotal: 0 kB", n)
		}
		return files
	}
	for _, test := range []struct {
		name    string
		files   map[string]string
		allowed string // Mems_allowed_list
		cpus    string
		want    string
		warning string
	}{
		{"own node", nil, "0-3", "2", "[1]", ""},
		{"two nodes", nil, "0-3", "3-4", "[1 2]", ""},
		{"all allowed when nothing is said", nil, "", "3-4", "[1 2]", ""},
		{"one of two is allowed", nil, "0,2-3", "3-4", "[2]", ""},
		{"one of two has memory", without(2), "0-3", "3-4", "[1]", ""},
		{"not allowed, its neighbour is", nil, "0,2-3", "2", "[0]",
			"the NUMA nodes of CPUs 2 (1) have no memory that this process may use; " +
				"using the nearest nodes that have some, 0"},
		{"no memory, two equally near", without(0, 1), "0-3", "2", "[2 3]",
			"using the nearest nodes that have some, 2-3"},
		{"nearest of several", without(0, 2), "0-3", "0,4", "[1 3]",
			"using the nearest nodes that have some, 1,3"},
		{"distances unknown",
			map[string]string{nodePath(1) + "/distance": "", nodePath(1) + "/meminfo": ""},
			"0-3", "2", "[0 2 3]", "using all nodes that have some, 0,2-3"},
		{"no memory anywhere", without(0, 1, 2, 3), "0-3", "2", "[]",
			"no NUMA node is known to have memory that this process may use for CPUs 2"},
		{"allowed nodes are not there", nil, "8", "2", "[]", "no NUMA node is known"},
		{"garbage", nil, "x", "2", "[1]", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			m := whole
			status := "Name: x\nMems_allowed:\t1\n" +
				"Mems_allowed_list:\t" + test.allowed + "\nThreads: 1"
			m.files = map[string]string{"/proc/self/status": status}
			for name, content := range test.files {
				m.files[name] = content
			}
			nodes, warning := memoryOf(mustRead(t, m.write(t)), parseList(t, test.cpus))
			if got := fmt.Sprint(nodes); got != test.want {
				t.Errorf("nodes %s, want %s", got, test.want)
			}
			if !strings.Contains(warning, test.warning) || (warning == "") != (test.warning == "") {
				t.Errorf("warning %q, want %q", warning, test.warning)
			}
		})
	}
}

// TestNoMemoryOnDevices has a machine whose nodes 2 and 3 are the memory of GPUs. They are nearest
// to node 0, which has no memory.
func TestNoMemoryOnDevices(t *testing.T) {
	m := grid(1, 4, 2, 1)
	m.nodes[2], m.nodes[3] = "", ""
	m.cores = []string{"0", "1", "2", "3"}
	m.distances = map[int]string{
		0: "10 40 11 12", 1: "40 10 40 40", 2: "11 40 10 20", 3: "12 40 20 10",
	}
	noMemory := nodePath(0) + "/meminfo"
	for _, test := range []struct {
		name  string
		files map[string]string
		want  string
	}{
		{"nobody says", map[string]string{noMemory: ""}, "[2]"},
		{"the kernel says",
			map[string]string{noMemory: "", nodeDir + "/has_normal_memory": "0-1"}, "[1]"},
		{"the kernel's list is empty",
			map[string]string{noMemory: "", nodeDir + "/has_normal_memory": ""}, "[2]"},
		{"the driver says", map[string]string{
			noMemory: "", gpuStatus(0): "Node:      2\nStatus:    online", gpuStatus(1): "Node: 3",
		}, "[1]"},
		{"the driver says none",
			map[string]string{noMemory: "", gpuStatus(0): "Node: -1\nStatus: disabled"}, "[2]"},
		{"the driver names one", map[string]string{noMemory: "", gpuStatus(0): "Node: 2"}, "[3]"},
		// Not even a node that the driver claims is a device's when it has CPUs.
		{"the driver claims CPUs", map[string]string{gpuStatus(0): "Node: 0"}, "[0]"},
	} {
		m.files = test.files
		nodes, _ := memoryOf(mustRead(t, m.write(t)), CPUs(0))
		if fmt.Sprint(nodes) != test.want {
			t.Errorf("%s: %v, want %s", test.name, nodes, test.want)
		}
	}
}

func gpuStatus(gpu int) string {
	return fmt.Sprintf("/proc/driver/nvidia/gpus/0004:0%d:00.0/numa_status", gpu)
}

func TestCapturedAllowedMems(t *testing.T) {
	for name, want := range map[string]string{
		"hwloc-32amd64-4s2n4c-cgroup2":          "0-5",
		"hwloc-nvidiagpunumanodes":              "0,8,250-255",
		"hwloc-fakememinitiators-1np2c+1npp+gi": "5-10",
		"ghw-accel-nvidia":                      "",
	} {
		topo := mustRead(t, affinitytest.Root(t, name))
		if got := CPUs(topo.AllowedMems...).String(); got != want {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
	}
}

// TestCapturedMemoryNodes has CPUs whose nodes have no memory. The distances show which nodes to
// use.
func TestCapturedMemoryNodes(t *testing.T) {
	topo := mustRead(t, affinitytest.Root(t, "hwloc-fakememinitiators-1np2c+1npp+gi"))
	for node, want := range map[int]string{0: "[5]", 1: "[8]", 2: "[6]", 3: "[9]"} {
		n, _ := topo.node(node)
		if nodes, warning := memoryOf(topo, n.CPUs); fmt.Sprint(nodes) != want || warning == "" {
			t.Errorf("CPUs of node %d: %v, %q, want %s", node, nodes, warning, want)
		}
	}
}

func FuzzMemoryNodes(f *testing.F) {
	f.Add("Mems_allowed_list:\t0-1\n", "0-1", "Node: 1\n", "Node 0 MemTotal: 5 kB", "10 20")
	f.Add("Mems_allowed_list:", "", "Node: -1", "MemTotal:", "")
	f.Fuzz(func(t *testing.T, status, normal, gpu, meminfo, distance string) {
		root := t.TempDir()
		for cpu := range 4 {
			writeFile(t, root, cpuPath(cpu)+"/online", "1")
		}
		writeFile(t, root, nodePath(0)+"/cpulist", "0-3")
		for node := range 2 {
			writeFile(t, root, nodePath(node)+"/meminfo", meminfo)
			writeFile(t, root, nodePath(node)+"/distance", distance)
		}
		writeFile(t, root, "/proc/self/status", status)
		writeFile(t, root, nodeDir+"/has_normal_memory", normal)
		writeFile(t, root, gpuStatus(0), gpu)
		topo := mustRead(t, root)
		nodes, warning := memoryOf(topo, CPUs(0))
		wantWarning := !slices.Equal(nodes, []int{0})
		if (warning != "") != wantWarning || strings.Contains(warning, "\n") {
			t.Errorf("nodes %v, warning %q", nodes, warning)
		}
		for _, id := range nodes {
			allowed := topo.AllowedMems == nil || slices.Contains(topo.AllowedMems, id)
			if n, _ := topo.node(id); n.MemoryBytes == 0 || n.DeviceMemory || !allowed {
				t.Errorf("node %+v of allowed %v", n, topo.AllowedMems)
			}
		}
	})
}
