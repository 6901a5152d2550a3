package affinity

// MemoryPolicy says how the kernel uses the NUMA nodes that a worker's memory is to come from
// (set_mempolicy(2)).
type MemoryPolicy string

const (
	// MemoryNone keeps the inherited policy, which normally takes memory from the node of the CPU
	// that a thread runs on.
	MemoryNone MemoryPolicy = "none"
	// MemoryPreferred takes memory from the nodes as long as they have some that is free, then from
	// others.
	MemoryPreferred MemoryPolicy = "preferred"
	// MemoryBind takes memory from the nodes only. When they are full, the kernel's out-of-memory
	// killer ends the process.
	MemoryBind MemoryPolicy = "bind"
	// MemoryInterleave takes pages from the nodes in turn.
	MemoryInterleave MemoryPolicy = "interleave"
)

// ParseMemoryPolicy returns the policy that has this name. The error for other names lists them.
func ParseMemoryPolicy(s string) (MemoryPolicy, error) {
	policies := []MemoryPolicy{MemoryNone, MemoryPreferred, MemoryBind, MemoryInterleave}
	return parseName("memory policy", s, policies)
}
