package capture

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/gpulaunch/gpulaunch/affinity"
)

// The control group that stands for all groups that limit the process, and where it is mounted.
const (
	groupMount = "/sys/fs/cgroup"
	groupName  = "/job"
)

// quotaPeriod is the period, in microseconds, that CPU time is limited by. Limits may come from
// other periods; the longest possible one gives the smallest rounding error
// (Documentation/scheduler/sched-bwc.rst).
const quotaPeriod = 1_000_000

// addAllowed adds which CPUs are online and what the process may use, in the form of a machine with
// cgroup version 2. It leaves out a quota that cannot be read.
func (a archive) addAllowed(root string, topology *affinity.Topology) {
	for cpu := range topology.Online.All() {
		a.addFolder(cpuDir + "/cpu" + strconv.Itoa(cpu))
	}
	a.addFile(cpuDir+"/online", topology.Online.String()+"\n")

	mount := strings.TrimPrefix(groupMount, "/")
	group := mount + groupName
	a.addFile("proc/mounts", "cgroup2 "+groupMount+" cgroup2 rw 0 0\n")
	a.addFile("proc/self/cgroup", "0::"+groupName+"\n")
	a.addFile("proc/self/cpuset", groupName+"\n")
	a.addFile(mount+"/cgroup.controllers", "cpuset cpu\n")
	a.addFile(group+"/cpuset.cpus.effective", topology.Allowed.String()+"\n")
	status := "Cpus_allowed_list:\t" + topology.Allowed.String() + "\n"
	if topology.AllowedMems != nil {
		nodes := affinity.CPUs(topology.AllowedMems...).String()
		a.addFile(group+"/cpuset.mems.effective", nodes+"\n")
		status += "Mems_allowed_list:\t" + nodes + "\n"
	}
	a.addFile("proc/self/status", status)
	if cpus, limited, err := affinity.ReadQuota(root); err == nil && limited {
		quota := max(1, math.Round(cpus*quotaPeriod))
		a.addFile(group+"/cpu.max", fmt.Sprintf("%.0f %d\n", quota, quotaPeriod))
	}
}
