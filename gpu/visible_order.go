package gpu

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// The values of CUDA_DEVICE_ORDER. If it is not set, CUDA counts as with OrderFastestFirst.
const (
	OrderPCI          = "PCI_BUS_ID"
	OrderFastestFirst = "FASTEST_FIRST"
)

// speed estimates how fast a GPU computes, and returns 0 if that is unknown. CUDA's own "simple
// heuristic" (CUDA C++ Programming Guide, CUDA Environment Variables) is not documented.
func (d Device) speed() int { return d.Cores * d.MaxClockMHz }

// unlike reports whether the GPUs are not all of one kind. A broken GPU may have no name, which
// says nothing.
func unlike(devices []Device) bool { return len(kindsOf(devices)) > 1 }

// kindsOf returns the names of the GPUs, each once.
func kindsOf(devices []Device) (names []string) {
	for _, d := range devices {
		if d.Name != "" && !slices.Contains(names, d.Name) {
			names = append(names, d.Name)
		}
	}
	return names
}

// sortFastestFirst sorts GPUs that are unlike as CUDA counts them with OrderFastestFirst, and
// reports whether that is another order than before. GPUs whose speed is unknown stay as they are.
func sortFastestFirst(devices []Device) bool {
	if !unlike(devices) || !speedsTell(devices) {
		return false
	}
	before := slices.Clone(devices)
	slices.SortStableFunc(devices, func(a, b Device) int { return cmp.Compare(b.speed(), a.speed()) })
	return !slices.EqualFunc(before, devices, func(a, b Device) bool { return a.Index == b.Index })
}

// speedsTell reports whether the speeds put GPUs of different kinds into an order.
func speedsTell(devices []Device) bool {
	kinds := map[int]string{}
	for _, d := range devices {
		kind, seen := kinds[d.speed()]
		if d.speed() == 0 || seen && kind != d.Name {
			return false
		}
		kinds[d.speed()] = d.Name
	}
	return true
}

// useUUIDs replaces the IDs of whole GPUs by their UUIDs, as far as they are known, or else by
// their indexes in PCI order.
func useUUIDs(chosen []choice) {
	for i, c := range chosen {
		chosen[i].id = cmp.Or(c.device.UUID, fmt.Sprint(c.device.Index))
	}
}

// doubts returns the Doubts about a list of which CUDA reads these choices. inv is in the order in
// which indexes count.
func (inv Inventory) doubts(value, order string, chosen []choice) (list []string) {
	if namesUUID(value) {
		return nil
	}
	for _, entry := range strings.Split(value, ",")[:len(chosen)] {
		digits, _, rest, _ := leadingInteger(entry)
		if rest = strings.TrimSpace(rest); rest != "" {
			list = append(list, fmt.Sprintf("CUDA_VISIBLE_DEVICES=%s: CUDA reads %s as %s and "+
				"ignores %s; remove it, or separate indexes with commas", quoted(value),
				quoted(entry), shortened(digits), quoted(rest)))
		}
	}
	if line := inv.orderDoubt(value, order, chosen); line != "" {
		list = append(list, line)
	}
	return list
}

// orderDoubt says that indexes may count in another order than the user means, or returns "".
func (inv Inventory) orderDoubt(value, order string, chosen []choice) string {
	if order == OrderPCI || len(chosen) == 0 || len(chosen) == len(inv.Devices) ||
		!unlike(inv.Devices) {
		return "" // whatever the order, the same GPUs are meant
	}
	tell := speedsTell(inv.Devices)
	if order == OrderFastestFirst {
		if tell {
			return ""
		}
		return fmt.Sprintf("CUDA_DEVICE_ORDER=%s: which of %s is the fastest is not known here, so "+
			"CUDA_VISIBLE_DEVICES=%s counts them by PCI bus; name GPUs by UUID", order,
			shortened(strings.Join(kindsOf(inv.Devices), " and ")), quoted(value))
	}
	meant, other := chosen[0].device, inv.otherKind(chosen[0].device)
	if tell {
		byPCI, bySpeed := inv.namedInBothOrders(chosen)
		if byPCI == nil {
			return ""
		}
		meant, other = *byPCI, *bySpeed
	}
	return fmt.Sprintf("CUDA_VISIBLE_DEVICES=%s is taken for %s, %s, counted by PCI bus, but by "+
		"default CUDA counts the fastest GPU first, so %s, %s may be meant; set "+
		"CUDA_DEVICE_ORDER=%s or %s, or name GPUs by UUID", quoted(value), meant.Label(),
		shortened(meant.Name), other.Label(), shortened(other.Name), OrderPCI, OrderFastestFirst)
}

// namedInBothOrders returns a GPU that the choices name and that they would not name if they
// counted the fastest first, and one for which it is the other way round. It returns nil if they
// name the same GPUs.
func (inv Inventory) namedInBothOrders(chosen []choice) (byPCI, bySpeed *Device) {
	fastest := slices.Clone(inv.Devices)
	sortFastestFirst(fastest)
	places := map[int]bool{} // those of the chosen in either list
	for _, c := range chosen {
		places[slices.IndexFunc(inv.Devices, sameIndex(c.device))] = true
	}
	for i := range fastest {
		at := slices.IndexFunc(inv.Devices, sameIndex(fastest[i]))
		if places[i] && !places[at] && bySpeed == nil {
			bySpeed = &fastest[i]
		}
		if !places[i] && places[at] && byPCI == nil {
			byPCI = &fastest[i]
		}
	}
	return byPCI, bySpeed
}

func sameIndex(d Device) func(Device) bool {
	return func(e Device) bool { return e.Index == d.Index }
}

// otherKind returns the first GPU with another name.
func (inv Inventory) otherKind(d Device) Device {
	i := slices.IndexFunc(inv.Devices,
		func(e Device) bool { return e.Name != "" && e.Name != d.Name })
	return inv.Devices[i]
}
