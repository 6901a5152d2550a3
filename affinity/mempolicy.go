package affinity

// MemoryPolicy says where the kernel takes a worker's memory from, of the nodes that go with it (set_mempolicy(2)).
type MemoryPolicy string

const (
	// MemoryNone leaves the policy as it is inherited, which mostly is the node of the CPU that asks.
	MemoryNone MemoryPolicy = "none"
	// MemoryPreferred takes from the nodes as long as they have free memory, then from others.
	MemoryPreferred MemoryPolicy = "preferred"
	// MemoryBind takes from the nodes only. When they are full the process is killed for want of memory.
	MemoryBind MemoryPolicy = "bind"
	// MemoryInterleave takes the pages from the nodes in turn.
	MemoryInterleave MemoryPolicy = "interleave"
)

// ParseMemoryPolicy returns the policy of that name. The error lists the names.
func ParseMemoryPolicy(s string) (MemoryPolicy, error) {
	return parseName("memory policy", s, []MemoryPolicy{MemoryNone, MemoryPreferred, MemoryBind, MemoryInterleave})
}
