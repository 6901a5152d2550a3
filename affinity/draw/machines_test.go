package draw

import (
	"fmt"
	"testing"

	"github.com/gpulaunch/gpulaunch/affinity"
)

func cpus(t testing.TB, list string) affinity.CPUSet {
	t.Helper()
	set, err := affinity.ParseCPUList(list)
	if err != nil {
		t.Fatal(err)
	}
	return set
}

// spanOf returns the CPUs of count cores, starting with core first. The numbers of a core's threads
// are the number of all cores apart.
func spanOf(first, count, cores, threads int) affinity.CPUSet {
	var all []int
	for thread := range threads {
		for i := range count {
			all = append(all, thread*cores+first+i)
		}
	}
	return affinity.CPUs(all...)
}

// server returns a machine of equal parts.
func server(packages, nodesPerPackage, coresPerNode, coresPerL3, threads int) *affinity.Topology {
	cores := packages * nodesPerPackage * coresPerNode
	topo := &affinity.Topology{Online: spanOf(0, cores, cores, threads)}
	topo.Allowed = topo.Online
	for p := range packages {
		size := nodesPerPackage * coresPerNode
		topo.Packages = append(topo.Packages,
			affinity.Package{ID: p, CPUs: spanOf(p*size, size, cores, threads)})
	}
	for n := range packages * nodesPerPackage {
		set := spanOf(n*coresPerNode, coresPerNode, cores, threads)
		topo.Nodes = append(topo.Nodes, affinity.Node{ID: n, CPUs: set, MemoryBytes: 64 << 30})
	}
	for first := 0; coresPerL3 > 0 && first < cores; first += coresPerL3 {
		topo.L3s = append(topo.L3s, affinity.Cache{CPUs: spanOf(first, coresPerL3, cores, threads)})
	}
	for i := range cores {
		topo.Cores = append(topo.Cores, affinity.Core{ID: i, CPUs: spanOf(i, 1, cores, threads)})
	}
	return topo
}

// occupy adds GPUs, spread evenly over the nodes, and for each GPU a worker with an equal slice of
// the cores.
func occupy(topo *affinity.Topology, workers int) Picture {
	p := Picture{Topology: topo}
	for i := range workers {
		var set affinity.CPUSet
		for _, core := range topo.Cores[i*len(topo.Cores)/workers : (i+1)*len(topo.Cores)/workers] {
			set = set.Union(core.CPUs)
		}
		node := topo.Nodes[i*len(topo.Nodes)/workers]
		p.Devices = append(p.Devices, Device{
			Name: fmt.Sprintf("GPU %d NVIDIA H100 80GB HBM3", i),
			PCI:  fmt.Sprintf("0000:%02x:00.0", 16*i+1),
			Node: node.ID, CPUs: node.CPUs, Ranks: []int{i},
		})
		p.Workers = append(p.Workers, Worker{Rank: i, Label: fmt.Sprintf("rank %d, GPU %d", i, i),
			CPUs: set, Memory: []int{node.ID}})
	}
	return p
}

// odd returns a machine whose parts do not fit together: an L3 and a node that cross packages,
// cores that are in no package, a node that only has memory, CPUs that are in no core, threads that
// are not allowed.
func odd(t testing.TB) Picture {
	topo := &affinity.Topology{
		Online:  cpus(t, "0-19"),
		Allowed: cpus(t, "0-5,7-13,16-19"),
		Packages: []affinity.Package{
			{ID: 7, CPUs: cpus(t, "0-7")},
			{ID: -1, CPUs: cpus(t, "8-15")},
		},
		Nodes: []affinity.Node{
			{ID: 0, CPUs: cpus(t, "0-3"), MemoryBytes: 8271101952,
				Distances: map[int]int{0: 10, 5: 20, 9: 40}},
			{ID: 5, CPUs: cpus(t, "4-11"), MemoryBytes: 1 << 40},
			{ID: 9, MemoryBytes: 96 << 30, Distances: map[int]int{0: 40, 5: 20, 9: 10}},
			{ID: 12},
		},
		L3s: []affinity.Cache{{CPUs: cpus(t, "0-3")}, {CPUs: cpus(t, "6-9")},
			{CPUs: cpus(t, "12-15")}},
	}
	for i := 0; i < 16; i += 2 {
		topo.Cores = append(topo.Cores, affinity.Core{CPUs: affinity.CPUs(i, i+1)})
	}
	return Picture{
		Topology: topo,
		Devices: []Device{
			{Name: "GPU 0", PCI: "0000:01:00.0", Node: 5, CPUs: cpus(t, "4-11"),
				Ranks: []int{0, 1}},
			{Name: "GPU 1 \x1b[2J<script>&\u202e", PCI: "0001:02:00.0", Node: 9, Ranks: []int{2}},
			{Name: "mlx5_0", PCI: "0000:03:00.0", Node: -1, CPUs: cpus(t, "0-3")},
			{Node: 77},
		},
		Workers: []Worker{
			{Rank: 0, Label: "rank 0, GPU 0", CPUs: cpus(t, "4-5,8-9"), Memory: []int{5}},
			{Rank: 1, Label: "rank 1, GPU 0", CPUs: cpus(t, "6-9"), Memory: []int{5, 0}},
			{Rank: 2, CPUs: cpus(t, "0,12,16,99")},
			{Rank: 3, Label: "rank 3", CPUs: affinity.CPUSet{}},
		},
		Note: "first line\nsecond line with a bell\a and a long tail that has to be wrapped " +
			"because it does not fit",
	}
}
