package process

import (
	"os"
	"strconv"
	"strings"
)

// OOMKills returns how many processes of this machine the kernel has killed since boot because
// memory, or that of a control group, had run out (oom_kill in proc_vmstat(5), since Linux 4.13).
// It returns 0 if the kernel does not say.
func OOMKills() int {
	data, err := os.ReadFile("/proc/vmstat")
	if err != nil {
		return 0
	}
	return parseVMStat(string(data), "oom_kill")
}

func parseVMStat(text, name string) int {
	for line := range strings.Lines(text) {
		if value, ok := strings.CutPrefix(strings.TrimSpace(line), name+" "); ok {
			n, err := strconv.ParseUint(value, 10, 63)
			if err != nil { // ParseUint returns the largest number for one that is too large
				return 0
			}
			return int(n)
		}
	}
	return 0
}
