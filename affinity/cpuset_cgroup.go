package affinity

import (
	"path"
	"slices"
	"strings"
)

// capturedAllowed returns the online CPUs that the cpuset files of a capture allow. If the files
// allow none or are missing, it returns all online CPUs.
func capturedAllowed(s *sysfs, online CPUSet) CPUSet {
	cpus, known := readCpuset(s, func(c cpusetFS) string { return c.cpus })
	if allowed := cpus.Intersect(online); known && !allowed.IsEmpty() {
		return allowed
	}
	return online
}

// readCpuset returns the set in a file of the process's cpuset; file chooses the one for CPUs or
// the one for memory nodes. Where it is follows from where the cpuset controller is mounted and
// which group the process is in (cpuset(7), Documentation/admin-guide/cgroup-v2.rst).
func readCpuset(s *sysfs, file func(cpusetFS) string) (CPUSet, bool) {
	mount, ok := cpusetMount(s)
	if !ok {
		return CPUSet{}, false
	}
	group, ok := cpusetGroup(s)
	if !ok {
		return CPUSet{}, false
	}
	// Join cleans a path from the root down, so ".." in a capture's files does not lead out of it.
	set, err := s.readParsed(path.Join("/", mount.dir, group, file(mount)), ParseCPUList)
	return set, err == nil
}

// cpusetFS is where cpusets are mounted, and the names of the files with a group's CPUs and memory
// nodes.
type cpusetFS struct{ dir, cpus, mems string }

func cpusetMount(s *sysfs) (cpusetFS, bool) {
	mounts, _ := s.read("/proc/mounts")
	for line := range strings.Lines(mounts) {
		fields := strings.Fields(line)
		if len(fields) < 4 {
			continue
		}
		dir, kind, options := fields[1], fields[2], strings.Split(fields[3], ",")
		switch {
		case kind == "cgroup2" && hasCpusetController(s, dir):
			return cpusetFS{dir, "cpuset.cpus.effective", "cpuset.mems.effective"}, true
		case kind == "cpuset", kind == "cgroup" && hasAll(options, "cpuset", "noprefix"):
			return cpusetFS{dir, "cpus", "mems"}, true
		case kind == "cgroup" && hasAll(options, "cpuset"):
			return cpusetFS{dir, "cpuset.cpus", "cpuset.mems"}, true
		}
	}
	return cpusetFS{}, false
}

func hasAll(options []string, wanted ...string) bool {
	return !slices.ContainsFunc(wanted, func(w string) bool { return !slices.Contains(options, w) })
}

func hasCpusetController(s *sysfs, dir string) bool {
	controllers, _ := s.read(path.Join("/", dir, "cgroup.controllers"))
	return slices.Contains(strings.Fields(controllers), "cpuset")
}

// cpusetGroup returns the path of the process's group below the mount.
func cpusetGroup(s *sysfs) (string, bool) {
	if group, err := s.read("/proc/self/cpuset"); err == nil && group != "" {
		return group, true
	}
	groups, _ := s.read("/proc/self/cgroup")
	for line := range strings.Lines(groups) {
		// The line is hierarchy-ID:controllers:path; version 2 has no controllers (cgroups(7)).
		fields := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(fields) == 3 && (fields[1] == "" || fields[1] == "cpuset") {
			return fields[2], true
		}
	}
	return "", false
}
