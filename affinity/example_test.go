package affinity_test

import (
	"fmt"
	"log"
	"os"
	"os/exec"
	"runtime"

	"github.com/gpulaunch/gpulaunch/affinity"
)

// This program starts a worker for each of two GPUs. It binds the worker to cores of its own near
// its GPU.
func Example() {
	topology, err := affinity.ReadTopology("")
	if err != nil {
		log.Fatal(err)
	}
	var places []affinity.Locality
	for _, address := range []string{"0000:1b:00.0", "0000:3d:00.0"} {
		place, err := affinity.ReadLocality("", address)
		if err != nil {
			log.Print(err) // the place is unknown; its worker may get any allowed CPUs
		}
		places = append(places, place)
	}
	request := affinity.Request{Policy: affinity.Policy{Mode: affinity.ModeExclusive}}
	bindings, warnings, err := topology.BindAll(request, places)
	if err != nil {
		log.Fatal(err)
	}
	for _, warning := range warnings {
		log.Print("warning: ", warning)
	}

	// A process inherits the binding of the thread that starts it.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var workers []*exec.Cmd
	for rank, binding := range bindings {
		restore, err := affinity.Apply(binding.CPUs)
		if err != nil {
			log.Fatal(err)
		}
		worker := exec.Command("python3", "train.py")
		worker.Env = append(os.Environ(),
			fmt.Sprint("LOCAL_RANK=", rank), fmt.Sprint("OMP_NUM_THREADS=", binding.Threads))
		worker.Stdout, worker.Stderr = os.Stdout, os.Stderr
		if err := worker.Start(); err != nil {
			log.Fatal(err)
		}
		workers = append(workers, worker)
		if err := restore(); err != nil {
			log.Fatal(err)
		}
	}
	for rank, worker := range workers {
		if err := worker.Wait(); err != nil {
			log.Printf("rank %d: %v", rank, err)
		}
	}
}

// Planning works on every system, and also for machines that do not exist. This one has two NUMA
// nodes with two cores each, and each core has two hardware threads.
func ExampleTopology_SpreadAll() {
	topology := &affinity.Topology{
		Online:  affinity.CPUs(0, 1, 2, 3, 4, 5, 6, 7),
		Allowed: affinity.CPUs(0, 1, 2, 3, 4, 5, 6, 7),
		Nodes: []affinity.Node{
			{ID: 0, CPUs: affinity.CPUs(0, 1, 4, 5)},
			{ID: 1, CPUs: affinity.CPUs(2, 3, 6, 7)},
		},
	}
	for core := range 4 {
		topology.Cores = append(topology.Cores,
			affinity.Core{ID: core, CPUs: affinity.CPUs(core, core+4)})
	}
	request := affinity.Request{Policy: affinity.Policy{Mode: affinity.ModeExclusive}}
	bindings, _, err := topology.SpreadAll(request, 3)
	if err != nil {
		log.Fatal(err)
	}
	for rank, binding := range bindings {
		fmt.Printf("rank %d: CPUs %s, NUMA nodes %v, OMP_NUM_THREADS=%d\n",
			rank, binding.CPUs, binding.Nodes, binding.Threads)
	}
	// Output:
	// rank 0: CPUs 0,4, NUMA nodes [0], OMP_NUM_THREADS=1
	// rank 1: CPUs 1,5, NUMA nodes [0], OMP_NUM_THREADS=1
	// rank 2: CPUs 2-3,6-7, NUMA nodes [1], OMP_NUM_THREADS=2
}
