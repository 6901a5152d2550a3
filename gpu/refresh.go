package gpu

import "slices"

// Refreshed returns the inventory with what a later one says of the same GPUs: whether they are
// usable, their findings and their MIG instances. The list itself stays the same, so that indexes
// mean the same GPUs as before. A GPU that the later inventory lacks is lost. The processes on the
// GPUs, and findings about them, stay as they were, because later ones may be the job's own.
func (inv Inventory) Refreshed(later Inventory) Inventory {
	inv.Devices = slices.Clone(inv.Devices)
	nameless := slices.DeleteFunc(slices.Clone(later.Devices), func(d Device) bool {
		return d.UUID != "" || d.PCIBusID != "" || d.Usable()
	})
	for i := range inv.Devices {
		d := &inv.Devices[i]
		at := slices.IndexFunc(later.Devices, d.sameAs)
		switch {
		case at >= 0:
			d.refresh(later.Devices[at])
		case len(nameless) > 0: // a GPU that is lost may not even say which one it is
			d.refresh(nameless[0])
			nameless = nameless[1:]
		case d.UUID != "" || d.PCIBusID != "":
			d.Problem = "NVML no longer lists it"
			d.Findings = []Finding{{CodeLost, d.Problem, RemedyLost}}
		}
	}
	return inv
}

// sameAs reports whether two descriptions are of one GPU. A GPU that is broken may no longer say
// its UUID, or no longer its address.
func (d Device) sameAs(other Device) bool {
	if d.UUID != "" && other.UUID != "" {
		return d.UUID == other.UUID
	}
	return d.PCIBusID != "" && d.PCIBusID == other.PCIBusID
}

// refresh takes over what can change.
func (d *Device) refresh(later Device) {
	busy := func(f Finding) bool { return f.Code == CodeExclusiveAndBusy }
	own := slices.DeleteFunc(slices.Clone(d.Findings), func(f Finding) bool { return !busy(f) })
	d.Findings = append(slices.DeleteFunc(slices.Clone(later.Findings), busy), own...)
	d.Problem, d.MIG, d.MIGInstances = later.Problem, later.MIG, later.MIGInstances
}
