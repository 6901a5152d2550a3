//go:build !linux

package machine

import "github.com/gpulaunch/gpulaunch/launcher/plan"

// FindCgroup returns no place, and the reason that this system has no control groups.
func FindCgroup() plan.CgroupPlace {
	return plan.CgroupPlace{Reason: "control groups need Linux"}
}

// FindAbandoned returns nothing, because this system has no control groups.
func FindAbandoned(plan.CgroupPlace) []string { return nil }
