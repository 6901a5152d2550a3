package affinity

import (
	"slices"
	"strings"
)

// ClosestNICs returns the name of the nearest RDMA device of each worker, "" where there is none to choose. The
// localities are those of the workers' devices in the order of local ranks.
//
// Nearest are the ones whose PCI path has the most in common with the device's, from the root down: data between them
// passes the fewest bridges. Of several those on the device's NUMA node remain, if there are any, and workers that are
// left with the same ones take them in turn. RDMA devices of which it is known that no port is active do not count, and
// a device whose place nobody knows is near to none.
func ClosestNICs(locs []Locality, nics []NIC) []string {
	usable := slices.DeleteFunc(slices.Clone(nics), func(n NIC) bool { return !n.mayWork() })
	names := make([]string, len(locs))
	taken := map[string]int{}
	for i, loc := range locs {
		if loc.PCIPath == "" && loc.NUMANode < 0 {
			continue // nobody knows where it is, so nothing is known to be near
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

func (n NIC) mayWork() bool {
	return len(n.Ports) == 0 || slices.ContainsFunc(n.Ports, func(p NICPort) bool { return p.State == "" || p.State == "ACTIVE" })
}

// nearestNICs returns the names of the RDMA devices that are equally near to a device, and nearer than the others.
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
	elsewhere := func(n NIC) bool { return n.NUMANode != loc.NUMANode }
	if here := slices.DeleteFunc(slices.Clone(nearest), elsewhere); loc.NUMANode >= 0 && len(here) > 0 {
		nearest = here
	}
	var names []string
	for _, nic := range nearest {
		names = append(names, nic.Name)
	}
	return names
}

// commonPath returns the number of folders that both paths begin with.
func commonPath(a, b string) int {
	x, y := strings.Split(a, "/"), strings.Split(b, "/")
	n := 0
	for n < min(len(x), len(y)) && x[n] == y[n] {
		n++
	}
	return n
}
