package plan_test

import (
	"fmt"
	"log"

	"github.com/gpulaunch/gpulaunch/affinity"
	"github.com/gpulaunch/gpulaunch/gpu"
	"github.com/gpulaunch/gpulaunch/launcher/plan"
)

// This program compares how two affinity modes would place a job on a machine that is yet to be
// bought, which has both of its GPUs at one of its two NUMA nodes. For a machine that exists,
// package machine fills in the plan.Machine.
func Example() {
	topology := &affinity.Topology{
		Online:  affinity.CPUs(0, 1, 2, 3, 4, 5, 6, 7),
		Allowed: affinity.CPUs(0, 1, 2, 3, 4, 5, 6, 7),
		Nodes: []affinity.Node{
			{ID: 0, CPUs: affinity.CPUs(0, 1, 2, 3)}, {ID: 1, CPUs: affinity.CPUs(4, 5, 6, 7)},
		},
	}
	for cpu := range 8 {
		topology.Cores = append(topology.Cores,
			affinity.Core{ID: cpu, CPUs: affinity.CPUs(cpu)})
	}
	inventory := gpu.Inventory{Source: gpu.SourceNVML, Devices: []gpu.Device{
		{Index: 0, UUID: "GPU-5f1c", PCIBusID: "0000:81:00.0"},
		{Index: 1, UUID: "GPU-77a0", PCIBusID: "0000:c1:00.0"},
	}}
	machine := plan.Machine{
		Topology: topology, Inventory: inventory, Visible: inventory.Visible("", false),
		Localities: map[int]affinity.Locality{
			0: {Name: "GPU 0", NUMANode: 1}, 1: {Name: "GPU 1", NUMANode: 1},
		},
	}

	for _, mode := range []affinity.Mode{affinity.ModeNode, affinity.ModeExclusive} {
		p, err := plan.New(machine, plan.Options{
			Workers: plan.WorkersGPU, Affinity: affinity.Policy{Mode: mode},
		})
		if err != nil {
			log.Fatal(err)
		}
		fmt.Printf("--affinity=%s\n", mode)
		for _, w := range p.Workers {
			fmt.Printf("  rank %d: CUDA_VISIBLE_DEVICES=%s, CPUs %s, OMP_NUM_THREADS=%s\n",
				w.Rank, w.Env["CUDA_VISIBLE_DEVICES"], w.CPUs, w.Env["OMP_NUM_THREADS"])
		}
	}
	// Output:
	// --affinity=node
	//   rank 0: CUDA_VISIBLE_DEVICES=0, CPUs 4-7, OMP_NUM_THREADS=2
	//   rank 1: CUDA_VISIBLE_DEVICES=1, CPUs 4-7, OMP_NUM_THREADS=2
	// --affinity=exclusive
	//   rank 0: CUDA_VISIBLE_DEVICES=0, CPUs 4-5, OMP_NUM_THREADS=2
	//   rank 1: CUDA_VISIBLE_DEVICES=1, CPUs 6-7, OMP_NUM_THREADS=2
}
