package probe

import (
	"slices"

	"github.com/gpulaunch/gpulaunch/gpu"
)

// fillFrom adds to devices what they lack and the driver's own list knows. Devices are matched by
// their addresses. Those without an address are matched by their order, but only if as many
// entries of the driver's list are left.
func fillFrom(driverList, devices []gpu.Device) {
	var unmatched []gpu.Device
	for _, l := range driverList {
		i := slices.IndexFunc(devices, func(d gpu.Device) bool { return d.PCIBusID == l.PCIBusID })
		if i < 0 {
			unmatched = append(unmatched, l)
			continue
		}
		fill(&devices[i], l)
	}
	var withoutAddress []int
	for i, d := range devices {
		if d.PCIBusID == "" {
			withoutAddress = append(withoutAddress, i)
		}
	}
	if len(withoutAddress) != len(unmatched) {
		return // one of the two lists lacks a GPU, so any match would be a guess
	}
	for i, l := range unmatched {
		fill(&devices[withoutAddress[i]], l)
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
