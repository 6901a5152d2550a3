package machine_test

import (
	"encoding/json"
	"fmt"
	"log"
	"os"

	"github.com/gpulaunch/gpulaunch/affinity/capture"
	"github.com/gpulaunch/gpulaunch/gpu"
	"github.com/gpulaunch/gpulaunch/gpu/probe"
	"github.com/gpulaunch/gpulaunch/launcher/machine"
	"github.com/gpulaunch/gpulaunch/launcher/plan"
)

// This program writes as JSON how a job would be placed on the machine that it runs on, and which
// variables each worker would get. The machine is read while NVML is still listing the GPUs.
func Example() {
	reading := machine.Begin("")
	inventory := probe.Discover(probe.Options{})
	visible := inventory.Visible(os.LookupEnv("CUDA_VISIBLE_DEVICES"))
	options := plan.Options{Environ: os.Environ()}
	here, err := reading.Complete(inventory, visible, options)
	if err != nil {
		log.Fatal(err)
	}
	p, err := plan.New(here, options)
	if err != nil {
		log.Fatal(err)
	}
	out := json.NewEncoder(os.Stdout)
	out.SetIndent("", "  ")
	if err := out.Encode(p); err != nil {
		log.Fatal(err)
	}
}

// This program plans for a machine that somebody has sent a capture of ("gpulaunch capture"), and
// says which workers would share CPUs there.
func ExampleRead() {
	captured, err := capture.Open("node17.tar.gz")
	if err != nil {
		log.Fatal(err)
	}
	defer captured.Close()
	var inventory gpu.Inventory
	if err := json.Unmarshal(captured.Inventory, &inventory); err != nil {
		log.Fatal(err)
	}
	options := plan.Options{Workers: plan.WorkersGPU}
	there, err := machine.Read(captured.Root, inventory, inventory.Visible("", false), options)
	if err != nil {
		log.Fatal(err)
	}
	p, err := plan.New(there, options)
	if err != nil {
		log.Fatal(err)
	}
	for i, w := range p.Workers {
		for _, other := range p.Workers[:i] {
			if shared := w.CPUs.Intersect(other.CPUs); !shared.IsEmpty() {
				fmt.Printf("ranks %d and %d share CPUs %s\n", other.Rank, w.Rank, shared)
			}
		}
	}
}
