package affinity

import (
	"iter"
	"math/bits"
	"slices"
)

// maxCPUs bounds the CPU numbers that a set can hold, so that a hostile "0-99999999999" cannot use
// up the memory. Linux supports 8192 CPUs at most (CONFIG_NR_CPUS).
const maxCPUs = 1 << 20

const wordBits = 64

// CPUSet is an immutable set of CPU numbers, as the kernel counts them. It also holds NUMA node
// numbers. The zero value is the empty set.
type CPUSet struct {
	// words has CPU n at bit n%64 of word n/64. The last word is never zero, so equal sets have
	// equal words.
	words []uint64
}

// CPUs returns the set of the given CPU numbers. It leaves out numbers that no CPU can have: those
// below 0, and those of 2^20 and above.
func CPUs(cpus ...int) CPUSet {
	var words []uint64
	for _, cpu := range cpus {
		if cpu >= 0 && cpu < maxCPUs {
			words = setBit(words, cpu)
		}
	}
	return trimmed(words)
}

func setBit(words []uint64, cpu int) []uint64 {
	for len(words) <= cpu/wordBits {
		words = append(words, 0)
	}
	words[cpu/wordBits] |= 1 << (cpu % wordBits)
	return words
}

// trimmed returns the set with these words, which it takes ownership of.
func trimmed(words []uint64) CPUSet {
	n := len(words)
	for n > 0 && words[n-1] == 0 {
		n--
	}
	return CPUSet{words[:n:n]}
}

// Contains reports whether cpu is in the set.
func (s CPUSet) Contains(cpu int) bool {
	return cpu >= 0 && cpu/wordBits < len(s.words) && s.words[cpu/wordBits]>>(cpu%wordBits)&1 == 1
}

// Len returns the number of CPUs in the set.
func (s CPUSet) Len() int {
	n := 0
	for _, w := range s.words {
		n += bits.OnesCount64(w)
	}
	return n
}

// IsEmpty reports whether the set has no CPUs.
func (s CPUSet) IsEmpty() bool { return len(s.words) == 0 }

// Min returns the lowest CPU in the set, or -1 if the set is empty.
func (s CPUSet) Min() int {
	for i, w := range s.words {
		if w != 0 {
			return i*wordBits + bits.TrailingZeros64(w)
		}
	}
	return -1
}

// Max returns the highest CPU in the set, or -1 if the set is empty.
func (s CPUSet) Max() int {
	if s.IsEmpty() {
		return -1
	}
	last := len(s.words) - 1
	return last*wordBits + bits.Len64(s.words[last]) - 1
}

// Union returns the CPUs that are in s, in o or in both.
func (s CPUSet) Union(o CPUSet) CPUSet {
	long, short := s.words, o.words
	if len(long) < len(short) {
		long, short = short, long
	}
	words := slices.Clone(long)
	for i, w := range short {
		words[i] |= w
	}
	return CPUSet{words}
}

// Intersect returns the CPUs that are in both s and o.
func (s CPUSet) Intersect(o CPUSet) CPUSet {
	n := min(len(s.words), len(o.words))
	words := slices.Clone(s.words[:n])
	for i := range words {
		words[i] &= o.words[i]
	}
	return trimmed(words)
}

// Subtract returns the CPUs of s that are not in o.
func (s CPUSet) Subtract(o CPUSet) CPUSet {
	words := slices.Clone(s.words)
	for i := range min(len(words), len(o.words)) {
		words[i] &^= o.words[i]
	}
	return trimmed(words)
}

// Equal reports whether s and o hold the same CPUs.
func (s CPUSet) Equal(o CPUSet) bool { return slices.Equal(s.words, o.words) }

// SubsetOf reports whether every CPU of s is in o.
func (s CPUSet) SubsetOf(o CPUSet) bool {
	if len(s.words) > len(o.words) {
		return false
	}
	for i, w := range s.words {
		if w&^o.words[i] != 0 {
			return false
		}
	}
	return true
}

// intersects reports whether s and o have a CPU in common.
func (s CPUSet) intersects(o CPUSet) bool {
	for i := range min(len(s.words), len(o.words)) {
		if s.words[i]&o.words[i] != 0 {
			return true
		}
	}
	return false
}

// All iterates over the CPUs in ascending order.
func (s CPUSet) All() iter.Seq[int] {
	return func(yield func(int) bool) {
		for i, w := range s.words {
			for ; w != 0; w &= w - 1 {
				if !yield(i*wordBits + bits.TrailingZeros64(w)) {
					return
				}
			}
		}
	}
}
