package probe

import (
	"strconv"
)

// cpuList writes a set of CPUs, 64 to a word, in the kernel's list format: "0-15,64-79".
func cpuList(words []uint64) string {
	var list []byte
	first := -1
	end := func(last int) {
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
			end(cpu - 1)
		}
	}
	end(len(words)*64 - 1)
	return string(list)
}
