package affinity

// Threads says which hardware threads of a core a worker gets.
type Threads string

const (
	// ThreadsAll gives a worker all hardware threads that it may use. The empty value means the
	// same.
	ThreadsAll Threads = "all"
	// ThreadsOnePerCore gives a worker one hardware thread of each core: the one with the lowest
	// number.
	ThreadsOnePerCore Threads = "one-per-core"
)

// ParseThreads returns the value that has this name. The error for other names lists them.
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
