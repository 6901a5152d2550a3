package affinity

import (
	"fmt"
	"strconv"
)

const cpuDir = "/sys/devices/system/cpu"

func cpuPath(cpu int) string { return cpuDir + "/cpu" + strconv.Itoa(cpu) }

// readOnline returns the CPUs that have a folder and are listed in cpu/online. If that file is
// missing or useless, they are the CPUs whose own online file does not say 0. CPU 0 often has no
// such file, because it cannot be taken offline (Documentation/core-api/cpu_hotplug.rst).
func readOnline(s *sysfs) (CPUSet, error) {
	present, err := s.numbered(cpuDir, "cpu")
	if err != nil {
		return CPUSet{}, errNoCPUs(s, err)
	}
	online, err := s.readParsed(cpuDir+"/online", ParseCPUList)
	if err == nil {
		online = online.Intersect(present)
	}
	if online.IsEmpty() {
		online = individuallyOnline(s, present)
	}
	if online.IsEmpty() {
		return CPUSet{}, errNoCPUs(s, fmt.Errorf("no CPU is online in %s%s", s.root, cpuDir))
	}
	return online, nil
}

func individuallyOnline(s *sysfs, present CPUSet) CPUSet {
	var words []uint64
	for cpu := range present.All() {
		if state, err := s.readInt(cpuPath(cpu) + "/online"); err != nil || state != 0 {
			words = setBit(words, cpu)
		}
	}
	return trimmed(words)
}
