package probe

import (
	"slices"

	"github.com/gpulaunch/gpulaunch/gpu"
)

// Options say where to look.
type Options struct {
	// Library is the NVML file to load; "" searches for it.
	Library string
	// Root is the folder that holds proc and dev; "" is "/". It is there for tests.
	Root string
}

// none is the inventory of a machine without GPUs.
func none(reason string) gpu.Inventory {
	return gpu.Inventory{Source: gpu.SourceNone, Reason: reason, Devices: []gpu.Device{}}
}

// arrange puts devices into PCI order, numbers them, and returns where each one was before. A device whose address
// nobody knows stays behind the one it was listed after, since NVML and the driver list by address as well.
func arrange(devices []gpu.Device) []int {
	type placed struct {
		at   pciAddress
		from int
		dev  gpu.Device
	}
	order := make([]placed, len(devices))
	var last pciAddress
	for i, d := range devices {
		if at, ok := parsePCI(d.PCIBusID); ok {
			last = at
		}
		order[i] = placed{last, i, d}
	}
	slices.SortStableFunc(order, func(a, b placed) int { return a.at.compare(b.at) })
	from := make([]int, len(order))
	for i, p := range order {
		from[i] = p.from
		devices[i] = p.dev
		devices[i].Index = i
	}
	return from
}
