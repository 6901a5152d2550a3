package affinity

// matrix holds the distances between sets of CPUs, in both directions.
type matrix struct {
	sets   []CPUSet
	values [][]int
}

// nodeDistances returns the distances between the nodes. It returns an empty matrix unless all are
// known and make sense, which means that they are equal in both directions and that each node is
// nearest to itself.
func (t *Topology) nodeDistances() matrix {
	var m matrix
	for _, from := range t.Nodes {
		var row []int
		for _, to := range t.Nodes {
			there, known := from.Distances[to.ID]
			back, knownBack := to.Distances[from.ID]
			symmetric := known && knownBack && there == back
			if !symmetric || from.ID != to.ID && there <= from.Distances[from.ID] {
				return matrix{}
			}
			row = append(row, there)
		}
		m.sets = append(m.sets, t.nearCPUs(from))
		m.values = append(m.values, row)
	}
	return m
}

// nearbyGroups returns the unions of the sets that the smallest distance in the matrix links. It
// then does the same with these unions, whose distances are the means of their members' distances.
// It returns nothing when the smallest distance links all sets or none.
func nearbyGroups(m matrix) []CPUSet {
	if len(m.sets) <= 2 {
		return nil
	}
	members := m.linked(m.least())
	if len(members) == 0 || len(members) == 1 && len(members[0]) == len(m.sets) {
		return nil
	}
	unions := m.grouped(members)
	return append(unions.sets, nearbyGroups(unions)...)
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

// linked returns groups of sets, by their indexes, whose members can be reached from each other in
// steps of exactly that distance. Sets that reach no other set are left out.
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

// grouped returns the matrix of the unions of each group.
func (m matrix) grouped(groups [][]int) matrix {
	var unions matrix
	for _, a := range groups {
		var set CPUSet
		for _, i := range a {
			set = set.Union(m.sets[i])
		}
		var row []int
		for _, b := range groups {
			row = append(row, m.mean(a, b))
		}
		unions.sets = append(unions.sets, set)
		unions.values = append(unions.values, row)
	}
	return unions
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
