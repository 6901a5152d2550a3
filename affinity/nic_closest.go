package affinity

import (
	"fmt"
	"slices"
	"strings"
)

// ClosestNICs returns the name of the RDMA device for each worker. The localities are those of the
// workers' devices, in the order of local ranks. A worker for which there is none to choose gets
// "".
//
// The nearest RDMA device is the one whose PCI path shares the most folders with the path of the
// worker's device, counted from the top: data between them passes the fewest bridges. If several
// are equally near, those on the device's NUMA node are preferred. Workers are spread over the
// nearest ones as evenly as possible, even where these differ between workers, and those with the
// same ones take them in turn. RDMA devices whose ports are all known to be inactive are not used.
// A worker whose device has an unknown place gets none.
func ClosestNICs(locs []Locality, nics []NIC) []string {
	usable := slices.DeleteFunc(slices.Clone(nics), func(n NIC) bool { return !n.mayBeActive() })
	var groups []group
	var candidates [][]int
	indexes := map[string]int{}
	for worker, loc := range locs {
		var nearest []int
		if loc.PCIPath != "" || loc.NUMANode >= 0 {
			nearest = nearestNICs(loc, usable)
		}
		key := fmt.Sprint(nearest)
		g, known := indexes[key]
		if !known {
			g = len(groups)
			indexes[key] = g
			groups, candidates = append(groups, group{}), append(candidates, nearest)
		}
		groups[g].workers = append(groups[g].workers, worker)
	}
	names := make([]string, len(locs))
	for worker, nic := range assignEvenly(groups, candidates, len(usable)) {
		if nic >= 0 {
			names[worker] = usable[nic].Name
		}
	}
	return names
}

// mayBeActive reports whether a port of the device is active, as far as is known.
func (n NIC) mayBeActive() bool {
	return len(n.Ports) == 0 || slices.ContainsFunc(n.Ports, func(p NICPort) bool {
		return p.State == "" || p.State == "ACTIVE"
	})
}

// nearestNICs returns the indexes of the RDMA devices that are nearest to a device. There are
// several if they are equally near.
func nearestNICs(loc Locality, nics []NIC) []int {
	var nearest []int
	most := -1
	for i, nic := range nics {
		common := commonPath(loc.PCIPath, nic.PCIPath)
		if common > most {
			nearest, most = nil, common
		}
		if common == most {
			nearest = append(nearest, i)
		}
	}
	onOtherNode := func(i int) bool { return nics[i].NUMANode != loc.NUMANode }
	onSameNode := slices.DeleteFunc(slices.Clone(nearest), onOtherNode)
	if loc.NUMANode >= 0 && len(onSameNode) > 0 {
		return onSameNode
	}
	return nearest
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
