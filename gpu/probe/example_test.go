package probe_test

import (
	"context"
	"fmt"
	"log"
	"os"
	"time"

	"github.com/gpulaunch/gpulaunch/gpu"
	"github.com/gpulaunch/gpulaunch/gpu/probe"
)

// This program prints the memory and the temperature of each GPU every ten seconds, and XIDs as
// they happen. An NVML that hangs or crashes does not affect it.
func Example() {
	if len(os.Args) > 1 && os.Args[1] == "gpu-probe" { // this is the child
		if err := probe.ServeChild(probe.Options{}); err != nil {
			log.Fatal(err)
		}
		return
	}

	client := probe.NewClient([]string{"/proc/self/exe", "gpu-probe"})
	client.Stderr = os.Stderr
	client.OnEvent = func(e gpu.Event) {
		if e.Kind == gpu.EventXID {
			_, meaning := gpu.DescribeXID(e.XID)
			log.Printf("GPU %d: XID %d, %s", e.Index, e.XID, meaning)
		}
	}
	client.OnNoEvents = func(reason string) { log.Print(reason) }
	defer client.Close()

	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	inventory := probe.DiscoverWith(ctx, client, probe.Options{})
	cancel()
	log.Printf("%d GPUs: %s", len(inventory.Devices), inventory.Reason)

	for range time.Tick(10 * time.Second) {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		sample, err := client.Sample(ctx)
		cancel()
		if err != nil {
			log.Print(err) // the next round may have a new child
			continue
		}
		for _, d := range sample.Devices {
			if d.MemoryUsedBytes != nil && d.TemperatureCelsius != nil {
				fmt.Printf("GPU %d: %d MiB, %.0f °C\n",
					d.Index, *d.MemoryUsedBytes>>20, *d.TemperatureCelsius)
			}
		}
	}
}

// This program lists the GPUs. It asks NVML within its own process.
func ExampleDiscover() {
	inventory := probe.Discover(probe.Options{})
	fmt.Printf("source: %s (%s)\n", inventory.Source, inventory.Reason)
	for _, d := range inventory.Devices {
		fmt.Println(d.Label(), d.UUID, d.Name, d.Problem)
	}
}
