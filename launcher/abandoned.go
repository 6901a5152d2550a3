package launcher

import (
	"github.com/gpulaunch/gpulaunch/launcher/internal/cgroup"
	"github.com/gpulaunch/gpulaunch/launcher/internal/process"
	"github.com/gpulaunch/gpulaunch/launcher/plan"
)

// EndAbandoned ends the processes that are left of this user's jobs whose launcher was killed
// before it could end them, as far as their control groups are in the given place. It returns a
// line about each such job.
//
// A launcher locks the control group of its job (flock(2)), so a group whose lock is free has none.
// Processes that a job has left behind on purpose are in no such group.
func EndAbandoned(place plan.CgroupPlace) []string {
	if place.Parent == "" {
		return nil
	}
	return describeAbandoned(cgroup.EndAbandoned(place.Parent))
}

// EndAllAbandoned does what EndAbandoned does in the whole hierarchy of control groups: a job that
// was started in another session or service has its group elsewhere.
func EndAllAbandoned(place plan.CgroupPlace) []string {
	if place.Parent == "" {
		return nil
	}
	return describeAbandoned(cgroup.EndAllAbandoned(place.Parent))
}

func describeAbandoned(groups []cgroup.Abandoned) (lines []string) {
	for _, a := range groups {
		lines = append(lines, "ended "+process.Describe(a.Members,
			"of an earlier job, whose launcher had been killed"))
	}
	return lines
}
