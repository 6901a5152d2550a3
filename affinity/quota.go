package affinity

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strconv"
	"strings"
)

// ReadQuota returns how many CPUs' worth of time the control groups of this process let it have, the least of its own
// group's limit and those of the groups around it: cpu.max in version 2 (Documentation/admin-guide/cgroup-v2.rst),
// cpu.cfs_quota_us and cpu.cfs_period_us in version 1 (Documentation/scheduler/sched-bwc.rst). It may be a fraction.
// Limited is false when no group has a limit or there are no control groups. Root is as in [ReadTopology].
//
// It fails when a file is there and cannot be read or understood.
func ReadQuota(root string) (cpus float64, limited bool, err error) {
	s, err := openSysfs(root)
	if err != nil {
		return 0, false, fmt.Errorf("cannot read the CPU quota: %w", err)
	}
	defer s.close()
	return s.readQuota()
}

func (s *sysfs) readQuota() (cpus float64, limited bool, err error) {
	for _, group := range cpuGroups(s) {
		for dir := path.Join(group.mount, group.path); ; dir = path.Dir(dir) {
			limit, isLimit, err := group.read(s, dir)
			// A group that cannot be seen from here is above the root of a container, or the mount shows only a part of the
			// hierarchy. Further up there is one that can.
			if err != nil && !errors.Is(err, fs.ErrNotExist) {
				return 0, false, fmt.Errorf("cannot read the CPU quota: %w", err)
			}
			if err == nil && isLimit && (!limited || limit < cpus) {
				cpus, limited = limit, true
			}
			if len(dir) <= len(group.mount) {
				break
			}
		}
	}
	return cpus, limited, nil
}

// cpuGroup is this process's group in a hierarchy that may limit CPU time. Mount and path are clean and absolute.
type cpuGroup struct {
	mount, path string
	read        func(s *sysfs, dir string) (cpus float64, limited bool, err error)
}

// cpuGroups returns the groups in both versions' hierarchies, which a machine may have side by side.
func cpuGroups(s *sysfs) []cpuGroup {
	mounts, _ := s.read("/proc/mounts")
	paths := groupPaths(s)
	var groups []cpuGroup
	seen := map[string]bool{}
	for line := range strings.Lines(mounts) {
		fields := strings.Fields(line)
		if len(fields) < 4 {
			continue
		}
		controller, read := "", readQuota2
		if fields[2] == "cgroup" && slices.Contains(strings.Split(fields[3], ","), "cpu") {
			controller, read = "cpu", readQuota1
		} else if fields[2] != "cgroup2" {
			continue
		}
		// A hierarchy that is mounted again further down may be another container's view of it.
		if group, ok := paths[controller]; ok && !seen[controller] {
			seen[controller] = true
			groups = append(groups, cpuGroup{path.Join("/", fields[1]), path.Join("/", group), read})
		}
	}
	return groups
}

// groupPaths returns the process's groups by controller, "" for version 2. The lines are
// hierarchy-ID:controller,controller:path (cgroups(7)).
func groupPaths(s *sysfs) map[string]string {
	text, _ := s.read("/proc/self/cgroup")
	paths := map[string]string{}
	for line := range strings.Lines(text) {
		fields := strings.SplitN(strings.TrimRight(line, "\n"), ":", 3)
		if len(fields) != 3 {
			continue
		}
		for controller := range strings.SplitSeq(fields[1], ",") {
			paths[controller] = fields[2]
		}
	}
	return paths
}

func readQuota2(s *sysfs, dir string) (float64, bool, error) {
	text, err := s.read(dir + "/cpu.max")
	if err != nil {
		return 0, false, err
	}
	cpus, limited, err := parseCPUMax(text)
	if err != nil {
		err = fmt.Errorf("%s%s/cpu.max: %w", s.root, dir, err)
	}
	return cpus, limited, err
}

func readQuota1(s *sysfs, dir string) (float64, bool, error) {
	quota, err := s.read(dir + "/cpu.cfs_quota_us")
	if err != nil {
		return 0, false, err
	}
	period, err := s.read(dir + "/cpu.cfs_period_us")
	if err != nil {
		return 0, false, err
	}
	// Version 1 writes -1 where version 2 writes max.
	if quota == "-1" {
		quota = "max"
	}
	cpus, limited, err := parseCPUMax(quota + " " + period)
	if err != nil {
		err = fmt.Errorf("%s%s/cpu.cfs_quota_us: %w", s.root, dir, err)
	}
	return cpus, limited, err
}

// parseCPUMax reads "QUOTA PERIOD", both in microseconds above 0; the quota max is no limit.
func parseCPUMax(text string) (cpus float64, limited bool, err error) {
	quota, period, _ := strings.Cut(text, " ")
	us, err1 := strconv.ParseUint(quota, 10, 64)
	every, err2 := strconv.ParseUint(period, 10, 64)
	if quota == "max" {
		us, err1 = 1, nil
	}
	if err1 != nil || err2 != nil || us == 0 || every == 0 {
		return 0, false, fmt.Errorf("%s is not a quota and a period in microseconds", quoted(text))
	}
	if quota == "max" {
		return 0, false, nil
	}
	return float64(us) / float64(every), true, nil
}
