package probe

import (
	"slices"

	"github.com/gpulaunch/gpulaunch/gpu"
)

// Options say where to look for NVML and for the driver's files. The zero value is right for the
// machine that the program runs on.
type Options struct {
	// Library is the path of the NVML library. If it is "", the usual places are searched.
	Library string
	// Root is the folder that stands for "/" when files below /proc and /dev are read. Tests set
	// it; "" is "/".
	Root string
}

// emptyInventory returns the inventory of a machine without GPUs.
func emptyInventory(reason string) gpu.Inventory {
	return gpu.Inventory{Source: gpu.SourceNone, Reason: reason, Devices: []gpu.Device{}}
}

// arrange sorts devices into PCI order and numbers them. It returns the former position of each.
// A device without an address stays behind the one that it followed, because NVML and the driver
// list devices by address as well.
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
