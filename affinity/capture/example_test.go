package capture_test

import (
	"fmt"
	"log"
	"os"

	"github.com/gpulaunch/gpulaunch/affinity"
	"github.com/gpulaunch/gpulaunch/affinity/capture"
)

// This program shows where four workers without devices would run on a machine that somebody sent a
// capture of.
func Example() {
	machine, err := capture.Open("node17.tar.gz")
	if err != nil {
		log.Fatal(err)
	}
	defer machine.Close()
	topology, err := affinity.ReadTopology(machine.Root)
	if err != nil {
		log.Fatal(err)
	}
	request := affinity.Request{Policy: affinity.Policy{Mode: affinity.ModeNode}}
	bindings, _, err := topology.SpreadAll(request, 4)
	if err != nil {
		log.Fatal(err)
	}
	for rank, binding := range bindings {
		fmt.Printf("rank %d: CPUs %s of NUMA nodes %v\n", rank, binding.CPUs, binding.Nodes)
	}
}

// This program captures the machine that it runs on.
func ExampleWrite() {
	file, err := os.Create("machine.tar.gz")
	if err != nil {
		log.Fatal(err)
	}
	if err := capture.Write(file, "", nil); err != nil {
		log.Fatal(err)
	}
	if err := file.Close(); err != nil {
		log.Fatal(err)
	}
}
