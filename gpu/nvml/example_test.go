//go:build linux && !nonvml

package nvml_test

import (
	"errors"
	"fmt"
	"log"

	"github.com/gpulaunch/gpulaunch/gpu/nvml"
)

// This program lists the GPUs with the memory that is in use, and names those that are lost.
func Example() {
	library, err := nvml.Open("")
	if err != nil {
		log.Fatal(err)
	}
	if err := library.Init(); err != nil {
		log.Fatal(err)
	}
	defer library.Shutdown()
	n, err := library.DeviceCount()
	if err != nil {
		log.Fatal(err)
	}
	for i := range n {
		device, err := library.Device(i)
		if errors.Is(err, nvml.ErrGPUIsLost) {
			fmt.Printf("%d: lost, look for XID 79 in the kernel's log\n", i)
			continue
		}
		if err != nil {
			log.Fatal(err)
		}
		name, err := device.Name()
		if err != nil {
			log.Fatal(err)
		}
		memory, err := device.Memory()
		if err != nil {
			log.Fatal(err)
		}
		fmt.Printf("%d: %s, %d of %d MiB in use\n", i, name, memory.Used>>20, memory.Total>>20)
	}
}
