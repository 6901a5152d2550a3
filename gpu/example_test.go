package gpu_test

import (
	"encoding/json"
	"fmt"
	"log"
	"strings"

	"github.com/gpulaunch/gpulaunch/gpu"
)

// This program reads the inventory of another machine, as "gpulaunch devices --json" writes it,
// and says which GPUs a job there would use and what is wrong with the others.
func Example() {
	input := strings.NewReader(`{"source": "nvml", "devices": [
		{"index": 0, "uuid": "GPU-5f1c", "pci_bus_id": "0000:1b:00.0"},
		{"index": 1, "uuid": "GPU-77a0", "pci_bus_id": "0000:43:00.0",
			"problem": "GPU is lost (code 15)",
			"findings": [{"code": "lost", "text": "GPU is lost (code 15)",
				"remedy": "power-cycle the machine"}]},
		{"index": 2, "uuid": "GPU-c3d9", "pci_bus_id": "0000:52:00.0"}]}`)
	var inventory gpu.Inventory
	if err := json.NewDecoder(input).Decode(&inventory); err != nil {
		log.Fatal(err)
	}
	visible := inventory.Visible("0,1,2", true)
	for _, u := range visible.Units {
		fmt.Println("use", u.Device.Label())
	}
	for _, d := range visible.Unusable {
		fmt.Printf("%s: %s\n", d.Label(), d.Problem)
		for _, f := range d.Findings {
			fmt.Println("  what to do:", f.Remedy)
		}
	}
	if visible.Reason != "" {
		fmt.Println(visible.Reason)
	}
	// Output:
	// use GPU 0 (0000:1b:00.0)
	// use GPU 2 (0000:52:00.0)
	// GPU 1 (0000:43:00.0): GPU is lost (code 15)
	//   what to do: power-cycle the machine
}

func ExampleDescribeXID() {
	class, meaning := gpu.DescribeXID(79)
	fmt.Printf("XID 79 is %s: %s\n", class, meaning)
	// Output: XID 79 is fatal: the GPU fell off the bus
}
