package machine

import (
	"github.com/gpulaunch/gpulaunch/launcher/internal/cgroup"
	"github.com/gpulaunch/gpulaunch/launcher/plan"
)

// FindCgroup returns where control groups of jobs can be made, or why they cannot. It changes
// nothing.
func FindCgroup() plan.CgroupPlace {
	parent, reason := cgroup.Find()
	return plan.CgroupPlace{Parent: parent, Reason: reason}
}
