package machine

import (
	"github.com/gpulaunch/gpulaunch/launcher/internal/cgroup"
	"github.com/gpulaunch/gpulaunch/launcher/plan"
)

// FindCgroup looks for the place where control groups of jobs can be made, and changes
// nothing.
func FindCgroup() plan.CgroupPlace {
	parent, reason := cgroup.Find()
	return plan.CgroupPlace{Parent: parent, Reason: reason}
}
