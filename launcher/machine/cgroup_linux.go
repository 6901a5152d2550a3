package machine

import (
	"fmt"

	"github.com/gpulaunch/gpulaunch/launcher/internal/cgroup"
	"github.com/gpulaunch/gpulaunch/launcher/plan"
	"github.com/gpulaunch/gpulaunch/launcher/plural"
)

// FindCgroup returns where control groups of jobs can be made, or why they cannot. It changes
// nothing.
func FindCgroup() plan.CgroupPlace {
	parent, reason := cgroup.Find()
	return plan.CgroupPlace{Parent: parent, Reason: reason}
}

// FindAbandoned returns the control groups of jobs of this user whose launcher was killed before it
// could end them, each with its number of processes. It changes nothing.
func FindAbandoned(place plan.CgroupPlace) (groups []string) {
	if place.Parent == "" {
		return nil
	}
	for _, a := range cgroup.FindAllAbandoned(place.Parent) {
		groups = append(groups, fmt.Sprintf("%s (%s)", a.Path,
			plural.Of(len(a.Members), "%d process", "%d processes")))
	}
	return groups
}
