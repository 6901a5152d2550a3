package affinity

import (
	"slices"
	"strings"
)

// ClosestNICs returns the name of the RDMA device for each worker. The localities are those of the
// workers' devices, in the order of local ranks. A worker for which there is none to choose gets
// "".
//
// The nearest RDMA device is the one whose PCI path shares the most folders with the path of the
// worker's device, counted from the top: data between them passes the fewest bridges. If several
// are equally near, those on the device's NUMA node are preferred, and workers that could have the
// same ones take them in turn. RDMA devices whose ports are all known to be inactive are not used.
// A worker whose device has an unknown place gets none.
func ClosestNICs(locs []Locality, nics []NIC) []string {
	usable := slices.DeleteFunc(slices.Clone(nics), func(n NIC) bool { return !n.mayBeActive() })
	names := make([]string, len(locs))
	taken := map[string]int{}
	for i, loc := range locs {
		if loc.PCIPath == "" && loc.NUMANode < 0 {
			continue
		}
		nearest := nearestNICs(loc, usable)
		if len(nearest) == 0 {
			continue
		}
		key := strings.Join(nearest, " ")
		names[i] = nearest[taken[key]%len(nearest)]
		taken[key]++
	}
	return names
}

// mayBeActive reports whether a port of the device is active, as far as is known.
func (n NIC) mayBeActive() bool {
	return len(n.Ports) == 0 || slices.ContainsFunc(n.Ports, func(p NICPort) bool {
		return p.State == "" || p.State == "ACTIVE"
	})
}

// nearestNICs returns the names of the RDMA devices that are nearest to a device. There are several
// if they are equally near.
func nearestNICs(loc Locality, nics []NIC) []string {
	var nearest []NIC
	most := -1
	for _, nic := range nics {
		common := commonPath(loc.PCIPath, nic.PCIPath)
		if common > most {
			nearest, most = nil, common
		}
		if common == most {
			nearest = append(nearest, nic)
		}
	}
	onOtherNode := func(n NIC) bool { return n.NUMANode != loc.NUMANode }
	onSameNode := slices.DeleteFunc(slices.Clone(nearest), onOtherNode)
	if loc.NUMANode >= 0 && len(onSameNode) > 0 {
		nearest = onSameNode
	}
	var names []string
	for _, nic := range nearest {
		names = append(names, nic.Name)
	}
	return names
}

// commonPath returns how many folders two paths share, counted from the top.
func commonPath(a, b string) int {
	x, y := strings.Split(a, "/"), strings.Split(b, "/")
	n := 0
	for n < min(len(x), len(y)) && x[n] == y[n] {
		n++
	}
	return n
}
