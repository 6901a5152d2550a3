package affinity

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// intelCores are the folders of the counters of hybrid Intel CPUs, the slowest kind of core first.
// Each has a list of its CPUs (tools/perf/Documentation/intel-hybrid.txt in the kernel's source).
var intelCores = []string{"cpu_lowpower", "cpu_atom", "cpu_core"}

// speeds returns a number for each core that is higher for a faster kind of core, from 0. It is 0
// for all cores if they are of one kind, or if the kernel does not tell kinds apart.
func (r *cpuReader) speeds(cores []CPUSet) []int {
	if len(cores) == 0 {
		return nil
	}
	if speeds := r.intelSpeeds(cores); speeds != nil {
		return speeds
	}
	values := r.perCore(cores, "cpu_capacity") // Arm and RISC-V
	threads := make([]int, len(cores))
	for i, core := range cores {
		threads[i] = core.Len()
	}
	// Kernels before 5.13 do not have Intel's folders. Only machines that look like hybrid ones
	// are asked, to save a read for every core on the others.
	if values == nil && slices.Max(threads) > slices.Min(threads) {
		values = r.perCore(cores, "cpufreq/base_frequency")
	}
	return rankSpeeds(values, len(cores))
}

// intelSpeeds returns the speeds by the folders of Intel's kinds of cores, or nil if there are not
// at least two of them.
func (r *cpuReader) intelSpeeds(cores []CPUSet) []int {
	speeds := make([]int, len(cores))
	kinds := 0
	for _, name := range intelCores {
		set, err := r.fs.readParsed("/sys/devices/"+name+"/cpus", ParseCPUList)
		if err != nil || !set.intersects(r.online) {
			continue
		}
		for i, core := range cores {
			if core.intersects(set) {
				speeds[i] = kinds
			}
		}
		kinds++
	}
	if kinds < 2 {
		return nil
	}
	return speeds
}

// perCore returns the number in a file of each core's lowest CPU. It returns nil if a core has no
// such file.
func (r *cpuReader) perCore(cores []CPUSet, file string) []int {
	values := make([]int, len(cores))
	for i, core := range cores {
		value, err := r.fs.readInt(cpuPath(core.Min()) + "/" + file)
		if err != nil {
			return nil
		}
		values[i] = value
	}
	return values
}

// rankSpeeds numbers values from the lowest. A value that is less than a tenth above the one below
// it counts as equal: cores of one kind have slightly different capacities if some of them may run
// at a higher clock rate.
func rankSpeeds(values []int, cores int) []int {
	speeds := make([]int, cores)
	if values == nil {
		return speeds
	}
	sorted := slices.Compact(slices.Sorted(slices.Values(values)))
	rank := map[int]int{}
	for i, value := range sorted {
		if rank[value] = 0; i > 0 {
			rank[value] = rank[sorted[i-1]]
			if below := sorted[i-1]; value-below >= max(below/10, 1) {
				rank[value]++
			}
		}
	}
	for i, value := range values {
		speeds[i] = rank[value]
	}
	return speeds
}

// unequalWarning returns a warning if workers get cores of different speeds, and not as many of
// each as the others. It compares the worker with the most of the fastest cores and the one with
// the fewest. It returns "" if there is nothing to warn about.
func (t *Topology) unequalWarning(sets []CPUSet) string {
	kinds := 0
	for _, core := range t.Cores {
		kinds = max(kinds, core.Speed+1)
	}
	if kinds < 2 || len(sets) == 0 {
		return ""
	}
	counts := make([][]int, len(sets)) // by worker and speed, the fastest first
	best, worst := 0, 0
	unequal := false
	for i, set := range sets {
		counts[i] = t.countBySpeed(set, kinds)
		unequal = unequal || differ(counts[i], counts[0])
		if slices.Compare(counts[i], counts[best]) > 0 {
			best = i
		}
		if slices.Compare(counts[i], counts[worst]) < 0 {
			worst = i
		}
	}
	if !unequal && !differ(counts[best], counts[worst]) {
		return ""
	}
	return fmt.Sprintf("workers get cores of different speeds: local rank %d has %s, local rank "+
		"%d has %s; the others wait for the slowest, so choose the CPUs with affinity map, or "+
		"another number of workers", best, describeCores(counts[best]), worst,
		describeCores(counts[worst]))
}

// countBySpeed returns how many cores of each speed have a CPU in set, the fastest first.
func (t *Topology) countBySpeed(set CPUSet, kinds int) []int {
	counts := make([]int, kinds)
	for _, core := range t.Cores {
		if core.CPUs.intersects(set) {
			counts[kinds-1-core.Speed]++
		}
	}
	return counts
}

// differ reports whether one of two workers has a kind of core that the other lacks, or at least
// two more of a kind. One more is what is left over when cores are divided.
func differ(a, b []int) bool {
	for i := range a {
		if (a[i] == 0) != (b[i] == 0) || a[i]-b[i] > 1 || b[i]-a[i] > 1 {
			return true
		}
	}
	return false
}

// describeCores returns words for the numbers of cores of each speed, the fastest first.
func describeCores(counts []int) string {
	var facts []string
	for i, n := range counts {
		name := fmt.Sprintf("of speed class %d", len(counts)-1-i)
		if len(counts) == 2 {
			name = []string{"performance", "efficiency"}[i]
		}
		switch {
		case n == 1 && len(counts) == 2:
			facts = append(facts, "1 "+name+" core")
		case n > 0 && len(counts) == 2:
			facts = append(facts, fmt.Sprintf("%d %s cores", n, name))
		case n > 0:
			facts = append(facts, fmt.Sprintf("%d %s", n, name))
		}
	}
	return cmp.Or(strings.Join(facts, " and "), "none")
}
