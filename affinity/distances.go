package affinity

// matrix holds the distances between sets of CPUs, in both directions.
type matrix struct {
	sets   []CPUSet
	values [][]int
}

// nodeDistances returns the distances between the nodes, nothing unless all are known and make sense: the same in both
// directions, and each node nearest to itself.
func (t *Topology) nodeDistances() matrix {
	var m matrix
	for _, from := range t.Nodes {
		var row []int
		for _, to := range t.Nodes {
			there, known := from.Distances[to.ID]
			back, knownBack := to.Distances[from.ID]
			if !known || !knownBack || there != back || from.ID != to.ID && there <= from.Distances[from.ID] {
				return matrix{}
			}
			row = append(row, there)
		}
		m.sets = append(m.sets, t.nearCPUs(from))
		m.values = append(m.values, row)
	}
	return m
}

// nearbyGroups returns the unions of those sets that are linked by the smallest distance of all, then likewise of these
// unions, whose distances are their members' mean. It is empty when the smallest distance links everything or nothing.
func nearbyGroups(m matrix) []CPUSet {
	if len(m.sets) <= 2 {
		return nil
	}
	members := m.linked(m.least())
	if len(members) == 0 || len(members) == 1 && len(members[0]) == len(m.sets) {
		return nil
	}
	up := m.grouped(members)
	return append(up.sets, nearbyGroups(up)...)
}

// least returns the smallest distance between two different sets.
func (m matrix) least() int {
	least := m.values[0][1]
	for i, row := range m.values {
		for j, d := range row {
			if i != j {
				least = min(least, d)
			}
		}
	}
	return least
}

// linked returns the places of sets that are reachable from each other in steps of exactly that distance. Sets that
// reach no other are left out.
func (m matrix) linked(distance int) [][]int {
	var groups [][]int
	seen := make([]bool, len(m.sets))
	for start := range m.sets {
		if seen[start] {
			continue
		}
		seen[start] = true
		group := []int{start}
		for next := 0; next < len(group); next++ {
			for j, d := range m.values[group[next]] {
				if !seen[j] && d == distance {
					seen[j] = true
					group = append(group, j)
				}
			}
		}
		if len(group) > 1 {
			groups = append(groups, group)
		}
	}
	return groups
}

func (m matrix) grouped(groups [][]int) matrix {
	var up matrix
	for _, a := range groups {
		var set CPUSet
		for _, i := range a {
			set = set.Union(m.sets[i])
		}
		var row []int
		for _, b := range groups {
			row = append(row, m.mean(a, b))
		}
		up.sets = append(up.sets, set)
		up.values = append(up.values, row)
	}
	return up
}

func (m matrix) mean(a, b []int) int {
	sum := 0
	for _, i := range a {
		for _, j := range b {
			sum += m.values[i][j]
		}
	}
	return sum / (len(a) * len(b))
}
