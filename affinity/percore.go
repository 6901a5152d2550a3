package affinity

// Threads says which hardware threads of its cores a worker gets.
type Threads string

const (
	// ThreadsAll is every allowed hardware thread. The empty value means the same.
	ThreadsAll Threads = "all"
	// ThreadsOnePerCore is the lowest of a worker's hardware threads on each core.
	ThreadsOnePerCore Threads = "one-per-core"
)

// ParseThreads returns the value of that name. The error lists the names.
func ParseThreads(s string) (Threads, error) {
	return parseName("choice of hardware threads", s, []Threads{ThreadsAll, ThreadsOnePerCore})
}

// onePerCore returns the lowest CPU of set on each core.
func (u coreUse) onePerCore(set CPUSet) CPUSet {
	var words []uint64
	seen := make([]bool, len(u.workers))
	for cpu := range set.All() {
		if core, ok := u.coreOf[cpu]; ok && !seen[core] {
			seen[core] = true
			words = setBit(words, cpu)
		}
	}
	return trimmed(words)
}
