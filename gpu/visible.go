package gpu

import (
	"fmt"
	"strconv"
	"strings"
)

// Unit is what one worker gets: a whole GPU or one MIG instance.
type Unit struct {
	// ID is the entry for the worker's CUDA_VISIBLE_DEVICES.
	ID string
	// Device is the GPU, and for a MIG instance the GPU that it is a part of.
	Device Device
	// Instance is nil for a whole GPU.
	Instance *MIGInstance
}

// Visible is what a CUDA_VISIBLE_DEVICES leaves of an inventory.
type Visible struct {
	// Units are in the order of the variable or, where that is not set, in PCI order.
	Units []Unit
	// Set and Value are the variable as it was given.
	Set   bool
	Value string
	// Cut is the entry at which CUDA stops reading. It is "" when none does, and when that entry is the empty one:
	// Reason tells the two apart.
	Cut string
	// Reason is one line that says what the variable hides against expectation, why, and what to do. It is "" when
	// every entry names a GPU. A variable that hides every GPU on purpose (empty, or -1) has a Reason too.
	Reason string
	// Unusable are the GPUs that the variable admits but that have a Problem.
	Unusable []Device
}

// Visible applies a CUDA_VISIBLE_DEVICES as the CUDA driver reads it. The rules are those of the CUDA C++ Programming
// Guide ("CUDA Environment Variables") and of PyTorch's torch/cuda/__init__.py, which rebuilds the driver's parser:
//
//   - The first entry decides what the list is made of: GPU- UUIDs, MIG- UUIDs, else indexes.
//   - Indexes count in PCI order, whatever CUDA_DEVICE_ORDER the variable was written for: its default, fastest first,
//     cannot be known without CUDA. They count the GPUs as this inventory lists them, broken ones too.
//   - They are read as strtol reads: blanks and a sign before, anything behind, so "1gpu" is 1. PyTorch knows no sign
//     before version 2, and fails at a sign without a digit; here that is an entry that names nothing.
//   - A GPU- UUID may be shortened as long as it stays unique. A MIG instance needs its whole UUID, or the older
//     MIG-GPU-<uuid>/<gpu instance>/<compute instance>.
//   - The first entry that names nothing ends the list; what stands before it counts.
//   - A device that is named twice leaves no device at all.
//   - Empty means none, and so does -1.
//   - A GPU in MIG mode, named as a whole, stands for its first instance: CUDA shows no more of it.
//
// Given entries are never renumbered: an index stays that index, a UUID becomes the full UUID. Without the variable
// every usable unit is there. They go by index, unless some GPU of the machine is broken or in MIG mode: CUDA may then
// count fewer devices than we see, and only a UUID still means the right one.
func (inv Inventory) Visible(value string, set bool) Visible {
	v := Visible{Set: set, Value: value}
	if !set {
		v.addAll(inv)
		return v
	}
	if strings.TrimSpace(value) == "" || strings.TrimSpace(value) == "-1" {
		v.Reason = fmt.Sprintf("CUDA_VISIBLE_DEVICES=%s hides every GPU; unset it to use them", quoted(value))
		return v
	}
	chosen, stop := inv.choose(value)
	if stop != nil {
		v.Cut = stop.entry
		v.Reason = fmt.Sprintf("CUDA_VISIBLE_DEVICES=%s: %s", quoted(value), stop.why)
	}
	for _, c := range chosen {
		v.add(c)
	}
	return v
}

// choice is a device that an entry of the variable names.
type choice struct {
	device   Device
	instance *MIGInstance // nil: the whole GPU
	id       string       // what to call a whole GPU by
}

// same reports whether two choices are one device to CUDA.
func (c choice) same(d choice) bool {
	if c.device.Index != d.device.Index {
		return false
	}
	return c.instance == nil || d.instance == nil || c.instance.UUID == d.instance.UUID
}

// ending says why a list yields less than it has entries.
type ending struct {
	entry string // where it was cut; "" if all of it is void
	why   string
}

// choose reads the variable by the kind of its first entry.
func (inv Inventory) choose(value string) ([]choice, *ending) {
	switch {
	case strings.HasPrefix(value, "GPU-"):
		return chooseByUUID(strings.Split(value, ","), "GPU-", inv.gpuByUUID)
	case strings.HasPrefix(value, "MIG-"):
		return chooseByUUID(strings.Split(value, ","), "MIG-", inv.migByUUID)
	default:
		return inv.chooseByIndex(strings.Split(value, ","))
	}
}

// add gives a chosen device to Units, or to Unusable.
func (v *Visible) add(c choice) {
	switch {
	case !c.device.Usable():
		v.Unusable = append(v.Unusable, c.device)
	case c.instance != nil:
		v.Units = append(v.Units, Unit{ID: c.instance.UUID, Device: c.device, Instance: c.instance})
	case c.device.MIG && len(c.device.MIGInstances) > 0:
		v.add(choice{device: c.device, instance: &c.device.MIGInstances[0]})
	case c.device.MIG:
		c.device.Problem = ProblemNoInstance
		v.Unusable = append(v.Unusable, c.device)
	default:
		v.Units = append(v.Units, Unit{ID: c.id, Device: c.device})
	}
}

// addAll takes every unit of the machine.
func (v *Visible) addAll(inv Inventory) {
	indexHolds := inv.indexesHold()
	for _, d := range inv.Devices {
		if d.MIG && d.Usable() {
			for i := range d.MIGInstances {
				v.add(choice{device: d, instance: &d.MIGInstances[i]})
			}
			continue
		}
		id := d.UUID
		if indexHolds || id == "" {
			id = strconv.Itoa(d.Index)
		}
		v.add(choice{device: d, id: id})
	}
}

// indexesHold reports whether CUDA is sure to count the GPUs as this inventory does.
func (inv Inventory) indexesHold() bool {
	for _, d := range inv.Devices {
		if !d.Usable() || d.MIG {
			return false
		}
	}
	return true
}

// quoted shows somebody else's text on one line.
func quoted(s string) string { return strconv.Quote(shortened(s)) }

// shortened cuts a text that would flood the reader.
func shortened(s string) string {
	const most = 120
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "") + "…"
}
