//go:build !linux

package machine

import "github.com/gpulaunch/gpulaunch/launcher/plan"

// FindCgroup says that this system has no control groups.
func FindCgroup() plan.CgroupPlace {
	return plan.CgroupPlace{Reason: "control groups need Linux"}
}
