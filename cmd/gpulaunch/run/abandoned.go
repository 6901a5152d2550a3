//go:build linux

package run

import (
	"time"

	"github.com/gpulaunch/gpulaunch/launcher"
	"github.com/gpulaunch/gpulaunch/launcher/plan"
)

// endAbandoned has end look for what is left of jobs whose launcher was killed, and says what it
// has ended. It reports whether there was anything.
func (j *Job) endAbandoned(end func(plan.CgroupPlace) []string) bool {
	if j.Options.NoCgroup {
		return false
	}
	lines := end(j.reading.Cgroup())
	for _, line := range lines {
		j.out.say(line)
	}
	return len(lines) > 0
}

// searchDelay is how long a job runs before searchAbandoned. A short job leaves it to the next one.
const searchDelay = time.Second

// searchAbandoned looks through the whole hierarchy of control groups, unless planning has. That
// takes milliseconds on a machine with many services, so it happens after searchDelay.
func (j *Job) searchAbandoned() {
	if j.searched {
		return
	}
	j.searched = true
	time.AfterFunc(searchDelay, func() { j.endAbandoned(launcher.EndAllAbandoned) })
}
