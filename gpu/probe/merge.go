package probe

import (
	"slices"

	"github.com/gpulaunch/gpulaunch/gpu"
)

// fillFrom gives devices what the driver's own list knows of them and they lack: for a device with an address by that
// address, and for those without one in the lists' common order, provided that it is plain which ones are meant.
func fillFrom(listed, devices []gpu.Device) {
	var unclaimed []gpu.Device
	for _, l := range listed {
		i := slices.IndexFunc(devices, func(d gpu.Device) bool { return d.PCIBusID == l.PCIBusID })
		if i < 0 {
			unclaimed = append(unclaimed, l)
			continue
		}
		fill(&devices[i], l)
	}
	var nameless []int
	for i, d := range devices {
		if d.PCIBusID == "" {
			nameless = append(nameless, i)
		}
	}
	if len(nameless) != len(unclaimed) {
		return // a GPU that one of the two does not list: any match would be a guess
	}
	for i, l := range unclaimed {
		fill(&devices[nameless[i]], l)
	}
}

func fill(d *gpu.Device, from gpu.Device) {
	if d.PCIBusID == "" {
		d.PCIBusID = from.PCIBusID
	}
	if d.UUID == "" {
		d.UUID = from.UUID
	}
	if d.Name == "" {
		d.Name = from.Name
	}
	if d.Minor == nil {
		d.Minor = from.Minor
	}
}
