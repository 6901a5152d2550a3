package affinity

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/gpulaunch/gpulaunch/affinity/affinitytest"
)

// TestCaptureCounts counts the packages, nodes, L3s, allowed cores and allowed hardware threads
// that are read from each captured machine.
func TestCaptureCounts(t *testing.T) {
	type counts struct{ Packages, Nodes, L3s, Cores, Threads int }
	for name, want := range map[string]counts{
		"ghw-accel-nvidia":                      {1, 1, 1, 8, 8},
		"hwloc-nvidiagpunumanodes":              {2, 8, 4, 8, 32}, // six nodes are GPUs' memory
		"hwloc-32intel64-2p8co2t+8ve":           {2, 2, 2, 16, 32},
		"hwloc-nvidia-dgx-gb10":                 {1, 1, 2, 20, 20},
		"hwloc-32amd64-4s2n4c-cgroup2":          {4, 8, 8, 6, 6}, // of 32 cores, 6 are allowed
		"hwloc-16em64t-4s2c2t-offlines":         {4, 1, 4, 7, 12},
		"hwloc-48amd64-4pa2n6c-sparse":          {4, 8, 8, 48, 48},
		"hwloc-20em64t-hybrid-1p6c2t+2ca4co1t":  {1, 1, 1, 14, 20},
		"hwloc-fakememinitiators-1np2c+1npp+gi": {2, 11, 0, 8, 8},
	} {
		t.Run(name, func(t *testing.T) {
			topo := mustRead(t, affinitytest.Root(t, name))
			got := counts{len(topo.Packages), len(topo.Nodes), len(topo.L3s), 0, topo.Allowed.Len()}
			for _, core := range topo.Cores {
				if core.CPUs.intersects(topo.Allowed) {
					got.Cores++
				}
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
			checkShape(t, topo)
		})
	}
}

// checkShape checks what must be true for any machine.
func checkShape(t *testing.T, topo *Topology) {
	t.Helper()
	var cpus CPUSet
	for i, core := range topo.Cores {
		if core.ID != i || core.CPUs.IsEmpty() || core.CPUs.intersects(cpus) {
			t.Errorf("core %d is %+v", i, core)
		}
		cpus = cpus.Union(core.CPUs)
	}
	if !cpus.Equal(topo.Online) {
		t.Errorf("the cores have CPUs %s, online are %s", cpus, topo.Online)
	}
	if len(topo.Nodes) == 0 || len(topo.UsableNodes()) == 0 {
		t.Error("no node")
	}
}

func TestTopologyJSON(t *testing.T) {
	topo := mustRead(t, grid(2, 2, 4, 2).write(t))
	text, err := json.Marshal(topo)
	if err != nil {
		t.Fatal(err)
	}
	var back Topology
	if err := json.Unmarshal(text, &back); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(topo, &back); diff != "" {
		t.Errorf("-written +read:\n%s", diff)
	}
}

func TestReadTopologyGrid(t *testing.T) {
	topo := mustRead(t, grid(2, 2, 4, 2).write(t))
	checkShape(t, topo)
	if len(topo.Packages) != 2 || topo.Packages[1].ID != 1 ||
		topo.Packages[1].CPUs.String() != "8-15,24-31" {
		t.Errorf("packages: %+v", topo.Packages)
	}
	if len(topo.L3s) != 4 || topo.L3s[3].CPUs.String() != "12-15,28-31" {
		t.Errorf("L3s: %+v", topo.L3s)
	}
	want := Node{ID: 2, CPUs: parseList(t, "8-11,24-27"), MemoryBytes: 1 << 30,
		Distances: map[int]int{0: 32, 1: 32, 2: 10, 3: 12}}
	if diff := cmp.Diff(want, topo.Nodes[2]); diff != "" {
		t.Errorf("node 2, -want +got:\n%s", diff)
	}
	if core := topo.Cores[15]; core.Package != 1 || core.CPUs.String() != "15,31" {
		t.Errorf("last core: %+v", core)
	}
	if diff := cmp.Diff([]int{0, 1, 2, 3}, topo.UsableNodes()); diff != "" {
		t.Errorf("usable nodes: %s", diff)
	}
}

func TestReadTopologyWithout(t *testing.T) {
	whole := grid(2, 1, 4, 2)
	for _, test := range []struct{ remove, nodes, cores string }{
		{"sys/devices/system/node", "0-15", "0,8 1,9 2,10 3,11 4,12 5,13 6,14 7,15"},
		{"sys/devices/system/cpu/online", "0-3,8-11", "0,8 1,9 2,10 3,11 4,12 5,13 6,14 7,15"},
		{"sys/devices/system/cpu/cpu*/cache", "0-3,8-11", "0,8 1,9 2,10 3,11 4,12 5,13 6,14 7,15"},
		// The L2s determine the order.
		{"sys/devices/system/cpu/cpu*/topology", "0-3,8-11",
			"0 8 1 9 2 10 3 11 4 12 5 13 6 14 7 15"},
		{"sys/devices/system/node/node*/distance", "0-3,8-11",
			"0,8 1,9 2,10 3,11 4,12 5,13 6,14 7,15"},
	} {
		t.Run(test.remove, func(t *testing.T) {
			root := whole.write(t)
			remove(t, root, test.remove)
			topo := mustRead(t, root)
			checkShape(t, topo)
			var cores []string
			for _, core := range topo.Cores {
				cores = append(cores, core.CPUs.String())
			}
			got, node := strings.Join(cores, " "), topo.Nodes[0].CPUs.String()
			if got != test.cores || node != test.nodes {
				t.Errorf("node 0 %s, cores %s", node, got)
			}
		})
	}
}

func remove(t *testing.T, root, pattern string) {
	t.Helper()
	matches, err := filepath.Glob(filepath.Join(root, pattern))
	if err != nil || len(matches) == 0 {
		t.Fatalf("%s: %d files, %v", pattern, len(matches), err)
	}
	for _, match := range matches {
		if err := os.RemoveAll(match); err != nil {
			t.Fatal(err)
		}
	}
}

func TestReadTopologyNothingThere(t *testing.T) {
	root := t.TempDir()
	_, err := ReadTopology(root)
	if !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), root+cpuDir) {
		t.Errorf("no sys: %v", err)
	}
	writeFile(t, root, cpuDir+"/online", "0-3")
	_, err = ReadTopology(root)
	affinitytest.WantError(t, "no CPU folders", err, "no CPU is online")
}

// TestHostileSysfs reads machines that cannot exist, and binds workers on them.
func TestHostileSysfs(t *testing.T) {
	whole := grid(1, 2, 2, 2) // CPUs 0-7, node 0: 0-1,4-5
	type files = map[string]string
	for _, test := range []struct {
		name      string
		files     files
		nodeZero  string
		nodeOther string
	}{
		{"NUL and newline", files{
			nodePath(0) + "/cpumap": "33\n\x00", cpuDir + "/online": "0-7\x00\n",
		}, "0-1,4-5", "2-3,6-7"},
		{"list contradicts map", files{nodePath(0) + "/cpulist": "0-7"}, "0-1,4-5", "2-3,6-7"},
		{"map is garbage", files{nodePath(0) + "/cpumap": "zz"}, "0-1,4-5", "2-3,6-7"},
		{"both are garbage", files{
			nodePath(0) + "/cpumap": "zz", nodePath(0) + "/cpulist": "zz",
		}, "", "2-3,6-7"},
		{"empty", files{nodePath(0) + "/cpumap": ""}, "", "2-3,6-7"},
		{"all nodes claim all CPUs", files{
			nodePath(0) + "/cpumap": "ff", nodePath(1) + "/cpumap": "ff",
		}, "0-7", ""},
		{"far too many CPUs", files{
			nodePath(0) + "/cpumap": "1," + strings.Repeat("0,", 40000) + "0",
		}, "0-1,4-5", "2-3,6-7"},
		{"crossing siblings", files{
			cpuPath(0) + "/topology/core_cpus": "ff", cpuPath(1) + "/topology/core_cpus": "0f",
			cpuPath(2) + "/topology/package_cpus": "3c",
			cpuPath(0) + "/topology/package_cpus": "0f",
		}, "0-1,4-5", "2-3,6-7"},
		{"siblings without itself", files{
			cpuPath(0) + "/topology/core_cpus": "2",
		}, "0-1,4-5", "2-3,6-7"},
		{"caches of others", files{
			cachePath(0, 1) + "/shared_cpu_map": "aa", cachePath(1, 2) + "/level": "-7",
		}, "0-1,4-5", "2-3,6-7"},
		{"bad distances", files{
			nodePath(0) + "/distance": "10", nodePath(1) + "/distance": "a b",
		}, "0-1,4-5", "2-3,6-7"},
		{"odd names", files{
			cpuDir + "/cpu99999999999999999999/online": "1", cpuDir + "/cpufreq/x": "",
			nodeDir + "/nodeX/cpumap": "1",
		}, "0-1,4-5", "2-3,6-7"},
		{"online is a folder", files{cpuDir + "/online/x": ""}, "0-1,4-5", "2-3,6-7"},
	} {
		t.Run(test.name, func(t *testing.T) {
			m := whole
			m.files = test.files
			if test.name == "online is a folder" {
				m.noOnlineFile = true
			}
			topo := mustRead(t, m.write(t))
			checkShape(t, topo)
			if got := topo.Nodes[0].CPUs.String(); got != test.nodeZero {
				t.Errorf("node 0 has %s, want %s", got, test.nodeZero)
			}
			if got := topo.Nodes[1].CPUs.String(); got != test.nodeOther {
				t.Errorf("node 1 has %s, want %s", got, test.nodeOther)
			}
			for k := 1; k < 12; k++ {
				checkBindings(t, topo, k)
			}
		})
	}
}

// checkBindings binds k workers in every way. Every worker must get CPUs, all of which are allowed.
func checkBindings(t *testing.T, topo *Topology, k int) {
	t.Helper()
	locs := make([]Locality, k)
	for i := range locs {
		locs[i].NUMANode = i%3 - 1
	}
	for _, mode := range Modes() {
		devices, _, err := topo.BindAll(inMode(mode), locs)
		if err != nil {
			t.Fatal(err)
		}
		plain, _, err := topo.SpreadAll(inMode(mode), k)
		if err != nil {
			t.Fatal(err)
		}
		if len(devices) != k || len(plain) != k {
			t.Fatalf("%s: %d and %d bindings for %d workers", mode, len(devices), len(plain), k)
		}
		for _, b := range append(devices, plain...) {
			valid := !b.CPUs.IsEmpty() && b.CPUs.SubsetOf(topo.Allowed)
			if !valid || b.Threads < 1 || b.Nodes == nil {
				t.Errorf("%s, %d workers: %+v", mode, k, b)
			}
		}
	}
}

// TestReadGroups reads levels that only some machines have.
func TestReadGroups(t *testing.T) {
	m := grid(1, 1, 8, 1)
	m.files = map[string]string{}
	for cpu := range 8 {
		m.files[cpuPath(cpu)+"/topology/die_cpus"] = []string{"0f", "f0"}[cpu/4]
		m.files[cpuPath(cpu)+"/topology/cluster_cpus"] = []string{"03", "0c", "30", "c0"}[cpu/2]
		m.files[cachePath(cpu, 0)+"/shared_cpu_map"] = []string{"03", "0c", "30", "c0"}[cpu/2]
		m.files[cachePath(cpu, 2)+"/level"] = "1"
		m.files[cachePath(cpu, 2)+"/type"] = "Instruction"
		m.files[cachePath(cpu, 2)+"/shared_cpu_map"] = "ff"
	}
	var got []string
	for _, group := range mustRead(t, m.write(t)).Groups {
		got = append(got, group.Kind+" "+group.CPUs.String())
	}
	want := []string{
		"cluster 0-1", "cluster 2-3", "cluster 4-5", "cluster 6-7", "die 0-3", "die 4-7",
		"cache 0-1", "cache 2-3", "cache 4-5", "cache 6-7",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// TestComputeUnits reads a machine whose kernel lists pairs of cores as siblings.
func TestComputeUnits(t *testing.T) {
	m := grid(1, 1, 2, 2)
	m.files = map[string]string{}
	for cpu := range 4 {
		m.files[cpuPath(cpu)+"/topology/core_id"] = string(rune('0' + cpu))
	}
	if topo := mustRead(t, m.write(t)); len(topo.Cores) != 4 {
		t.Errorf("cores: %+v", topo.Cores)
	}
}

func FuzzTopologyFiles(f *testing.F) {
	f.Add("0-3", "f", "3", "1", "10 20", "f")
	f.Add("0-3\x00", "zz", "f", "f", "", "0")
	f.Add("", "", "", "", "", "")
	f.Fuzz(func(t *testing.T, online, pkg, core, node, distance, cache string) {
		root := t.TempDir()
		for cpu := range 4 {
			writeFile(t, root, cpuPath(cpu)+"/topology/package_cpus", pkg)
			writeFile(t, root, cpuPath(cpu)+"/topology/core_cpus", core)
			writeFile(t, root, cachePath(cpu, 0)+"/level", "3")
			writeFile(t, root, cachePath(cpu, 0)+"/shared_cpu_map", cache)
		}
		writeFile(t, root, cpuDir+"/online", online)
		writeFile(t, root, nodePath(0)+"/cpumap", node)
		writeFile(t, root, nodePath(0)+"/distance", distance)
		writeFile(t, root, nodePath(1)+"/distance", distance)
		topo := mustRead(t, root)
		checkShape(t, topo)
		checkBindings(t, topo, 3)
	})
}
