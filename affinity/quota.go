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

// ReadQuota returns how many CPUs' worth of time the control groups of this process let it use,
// which may be a fraction. It is the smallest limit of the process's group and the groups above it:
// cpu.max in version 2 (Documentation/admin-guide/cgroup-v2.rst), and cpu.cfs_quota_us divided by
// cpu.cfs_period_us in version 1 (Documentation/scheduler/sched-bwc.rst). If no group has a limit,
// or there are no control groups, limited is false. The root is that of [ReadTopology].
//
// It fails when a file is there but cannot be read or parsed.
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
			// A group without files is one that a container cannot see, or that is in a part of the
			// hierarchy which is not mounted. A group further up can be seen.
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

// cpuGroup is this process's group in a hierarchy that can limit CPU time. Both mount and path are
// clean and absolute.
type cpuGroup struct {
	mount, path string
	read        func(s *sysfs, dir string) (cpus float64, limited bool, err error)
}

// cpuGroups returns this process's groups in the hierarchies of both versions. A machine may have
// both at the same time.
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
		controller, read := "", readQuotaV2
		if fields[2] == "cgroup" && slices.Contains(strings.Split(fields[3], ","), "cpu") {
			controller, read = "cpu", readQuotaV1
		} else if fields[2] != "cgroup2" {
			continue
		}
		// Only the first mount counts: a later one may be another container's view of the
		// hierarchy.
		if group, ok := paths[controller]; ok && !seen[controller] {
			seen[controller] = true
			mount := path.Join("/", fields[1])
			groups = append(groups, cpuGroup{mount, path.Join("/", group), read})
		}
	}
	return groups
}

// groupPaths returns the process's groups by controller, with the one of version 2 under "". The
// lines of the file are hierarchy-ID:controller,controller:path (cgroups(7)).
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

func readQuotaV2(s *sysfs, dir string) (float64, bool, error) {
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

func readQuotaV1(s *sysfs, dir string) (float64, bool, error) {
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

// parseCPUMax parses "QUOTA PERIOD". Both are in microseconds and above 0, except for the quota
// "max", which means that there is no limit.
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
