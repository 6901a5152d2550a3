package draw_test

import (
	"log"
	"os"

	"github.com/gpulaunch/gpulaunch/affinity"
	"github.com/gpulaunch/gpulaunch/affinity/draw"
	"github.com/gpulaunch/gpulaunch/launcher/terminal"
)

// This program shows how two workers would share the cores of a machine. On a live machine, the
// topology comes from affinity.ReadTopology("").
func Example() {
	topology := &affinity.Topology{
		Online: affinity.CPUs(0, 1, 2, 3), Allowed: affinity.CPUs(0, 1, 2, 3),
		Nodes: []affinity.Node{{ID: 0, CPUs: affinity.CPUs(0, 1, 2, 3), MemoryBytes: 64 << 30}},
		L3s:   []affinity.Cache{{CPUs: affinity.CPUs(0, 1)}, {CPUs: affinity.CPUs(2, 3)}},
	}
	picture := draw.Picture{
		Topology: topology,
		Devices:  []draw.Device{{Name: "GPU 0", PCI: "0000:3b:00.0", Node: 0, Ranks: []int{0}}},
		Workers: []draw.Worker{
			{Rank: 0, Label: "rank 0, GPU 0", CPUs: affinity.CPUs(0, 1)},
			{Rank: 1, CPUs: affinity.CPUs(2)},
		},
	}
	if err := picture.Text(os.Stdout, terminal.Style{Width: 60}); err != nil {
		log.Fatal(err)
	}
	// Output:
	// 1 NUMA node, 2 L3 caches, 4 cores, 4 CPUs
	// ┌─ NUMA node 0 · 64 GiB · CPUs 0-3 ────────────────────────┐
	// │ GPU 0 · 0000:3b:00.0 → rank 0                            │
	// │ 0: [0 0] [1 ·]                                           │
	// └──────────────────────────────────────────────────────────┘
	//  0  rank 0, GPU 0 · 2 cores: CPUs 0-1
	//  1  rank 1 · 1 core: CPU 2
	//  ·  allowed, unused: CPU 3
	//  [ ] share an L3 cache. The number before a row is its first
	//  CPU.
}
