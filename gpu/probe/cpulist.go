package probe

import "strconv"

// cpuList writes a set of CPUs in the kernel's list format, "0-15,64-79". Bit i of word w stands
// for CPU 64*w+i.
func cpuList(words []uint64) string {
	var list []byte
	first := -1 // of the current range, -1 outside of one
	endRange := func(last int) {
		if first < 0 {
			return
		}
		if len(list) > 0 {
			list = append(list, ',')
		}
		list = strconv.AppendInt(list, int64(first), 10)
		if last > first {
			list = strconv.AppendInt(append(list, '-'), int64(last), 10)
		}
		first = -1
	}
	for cpu := range len(words) * 64 {
		in := words[cpu/64]>>(cpu%64)&1 == 1
		if in && first < 0 {
			first = cpu
		}
		if !in {
			endRange(cpu - 1)
		}
	}
	endRange(len(words)*64 - 1)
	return string(list)
}
