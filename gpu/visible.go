package gpu

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Unit is what one worker gets: a whole GPU or one MIG instance.
type Unit struct {
	// ID is the entry for the worker's CUDA_VISIBLE_DEVICES. It is "" if the worker has to inherit
	// the variable as it is.
	ID string
	// Device is the GPU. For a MIG instance it is the GPU that the instance is a part of.
	Device Device
	// Instance is nil for a whole GPU.
	Instance *MIGInstance
}

// Visible is what a value of CUDA_VISIBLE_DEVICES leaves of an inventory.
type Visible struct {
	// Units are in the order of the variable or, if it is not set, in PCI order.
	Units []Unit
	// Set and Value are the variable as it was given.
	Set   bool
	Value string
	// Cut is the entry at which CUDA stops reading. It is "" if CUDA reads all entries, and if
	// the entry itself is empty; Reason tells the two cases apart.
	Cut string
	// Reason is one line that says which entries CUDA ignores, why, and what to do. It is "" if
	// every entry names a GPU. A variable that hides all GPUs on purpose ("" or "-1") has a
	// Reason, too.
	Reason string
	// Doubts are lines that each say where CUDA may use another GPU than the user means, and what
	// to do.
	Doubts []string
	// Unusable are the GPUs that the variable names but that have a Problem.
	Unusable []Device
}

// Visible is [Inventory.VisibleInOrder] for a CUDA_DEVICE_ORDER that is not set.
func (inv Inventory) Visible(value string, set bool) Visible {
	return inv.VisibleInOrder(value, set, "")
}

// VisibleInOrder returns what the CUDA driver makes of a value of CUDA_VISIBLE_DEVICES, and of one
// of CUDA_DEVICE_ORDER ("" if it is not set). The rules are those of the CUDA C++ Programming Guide ("CUDA Environment Variables") and of PyTorch's
// torch/cuda/__init__.py, which imitates the driver's parser:
//
//   - The first entry decides what the list consists of: UUIDs with GPU-, UUIDs with MIG-, or
//     indexes.
//   - Indexes count the GPUs as this inventory lists them: in PCI order, and with the broken ones.
//     With the order FASTEST_FIRST, they count the fastest first. If the order is not set, CUDA
//     does that, too, but a launcher cannot rely on it: Doubts says which GPUs may be meant.
//   - Indexes are read in the way of strtol: blanks and a sign may precede the digits, and anything
//     may follow them, so "1gpu" is 1, and so is "1 2". Doubts says what is ignored. PyTorch does not accept signs before version 2, and since
//     then fails at a sign without a digit. Here, such an entry names nothing.
//   - A GPU- UUID may be shortened as long as it is unique. A MIG instance needs its whole UUID, or
//     the older form MIG-GPU-<uuid>/<gpu instance>/<compute instance>.
//   - The first entry that names nothing ends the list. The entries before it count.
//   - If a device is named twice, no device is visible.
//   - If the variable is empty or -1, no device is visible.
//   - If a GPU in MIG mode is named as a whole, only its first instance is visible.
//   - An integrated GPU has no UUID here, so any UUID may be its own. The ID of its unit is "".
//
// The IDs of the units are the entries of the variable: an index stays as it is, and a shortened
// UUID becomes the full one. An index that does not count in PCI order becomes a UUID. If the variable is not set, every usable unit is visible. Its ID is
// then its index, unless a GPU of the machine is broken or in MIG mode. In that case CUDA may count
// fewer devices than the inventory, and only UUIDs are unambiguous.
func (inv Inventory) VisibleInOrder(value string, set bool, order string) Visible {
	v := Visible{Set: set, Value: value}
	inv.Devices = slices.Clone(inv.Devices)
	ordered := order == OrderFastestFirst && sortFastestFirst(inv.Devices)
	if !set {
		v.addAll(inv, ordered)
		return v
	}
	if strings.TrimSpace(value) == "" || strings.TrimSpace(value) == "-1" {
		v.Reason = fmt.Sprintf("CUDA_VISIBLE_DEVICES=%s hides every GPU; unset it to use them",
			quoted(value))
		return v
	}
	if inv.Source == SourceIntegrated && namesUUID(value) {
		v.addAll(inv, ordered)
		return v
	}
	chosen, cut := inv.choose(value)
	if ordered {
		useUUIDs(chosen)
	}
	v.Doubts = inv.doubts(value, order, chosen)
	if cut != nil {
		v.Cut = cut.entry
		v.Reason = fmt.Sprintf("CUDA_VISIBLE_DEVICES=%s: %s", quoted(value), cut.reason)
	}
	for _, c := range chosen {
		v.add(c)
	}
	return v
}

// choice is a device that an entry of the variable names.
type choice struct {
	device   Device
	instance *MIGInstance // nil for the whole GPU
	id       string       // the ID of the unit for a whole GPU
}

// sameAs reports whether two choices are the same device for CUDA.
func (c choice) sameAs(d choice) bool {
	if c.device.Index != d.device.Index {
		return false
	}
	return c.instance == nil || d.instance == nil || c.instance.UUID == d.instance.UUID
}

// cutoff says why CUDA ignores some or all entries of a list.
type cutoff struct {
	entry  string // where CUDA stops reading, or "" if it ignores all entries
	reason string
}

// stopAt returns the cutoff at an entry. The reason is the rest of a sentence that ends with the
// entry.
func stopAt(entry, format string, args ...any) *cutoff {
	return &cutoff{entry, "CUDA stops reading at " + fmt.Sprintf(format, args...)}
}

// ignoreAll returns the cutoff of a list that CUDA ignores as a whole.
func ignoreAll(format string, args ...any) *cutoff {
	return &cutoff{"", "CUDA shows no GPU at all, because " + fmt.Sprintf(format, args...)}
}

// choose returns the devices that the variable names.
func (inv Inventory) choose(value string) ([]choice, *cutoff) {
	switch {
	case strings.HasPrefix(value, "GPU-"):
		return chooseByUUID(strings.Split(value, ","), "GPU-", inv.gpuByUUID)
	case strings.HasPrefix(value, "MIG-"):
		return chooseByUUID(strings.Split(value, ","), "MIG-", inv.migByUUID)
	default:
		return inv.chooseByIndex(strings.Split(value, ","))
	}
}

// add adds a device to Units or to Unusable.
func (v *Visible) add(c choice) {
	switch {
	case !c.device.Usable():
		v.Unusable = append(v.Unusable, c.device)
	case c.instance != nil:
		v.Units = append(v.Units, Unit{c.instance.UUID, c.device, c.instance})
	case c.device.MIG && len(c.device.MIGInstances) > 0:
		v.add(choice{device: c.device, instance: &c.device.MIGInstances[0]})
	case c.device.MIG:
		c.device.Problem = ProblemNoInstance
		v.Unusable = append(v.Unusable, c.device)
	case c.device.Integrated:
		v.Units = append(v.Units, Unit{Device: c.device})
	default:
		v.Units = append(v.Units, Unit{ID: c.id, Device: c.device})
	}
}

// namesUUID reports whether a value is a list of UUIDs.
func namesUUID(value string) bool {
	return strings.HasPrefix(value, "GPU-") || strings.HasPrefix(value, "MIG-")
}

// addAll adds every unit of the machine.
func (v *Visible) addAll(inv Inventory, ordered bool) {
	byIndex := inv.indexesAreCertain() && !ordered
	for _, d := range inv.Devices {
		if d.MIG && d.Usable() {
			for i := range d.MIGInstances {
				v.add(choice{device: d, instance: &d.MIGInstances[i]})
			}
			continue
		}
		id := d.UUID
		if byIndex || id == "" {
			id = strconv.Itoa(d.Index)
		}
		v.add(choice{device: d, id: id})
	}
}

// indexesAreCertain reports whether CUDA certainly counts the GPUs as this inventory does.
func (inv Inventory) indexesAreCertain() bool {
	if inv.Source == SourceDriver {
		return false // the driver's files may list GPUs that this process cannot open
	}
	for _, d := range inv.Devices {
		if !d.Usable() || d.MIG {
			return false
		}
	}
	return true
}

// quoted shows a text of unknown content and length on one line.
func quoted(s string) string { return strconv.Quote(shortened(s)) }

// shortened cuts a text off that is too long for a message.
func shortened(s string) string {
	const limit = 120
	if len(s) <= limit {
		return s
	}
	return strings.ToValidUTF8(s[:limit], "") + "…"
}
