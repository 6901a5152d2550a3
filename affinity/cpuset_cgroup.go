package affinity

import (
	"path"
	"slices"
	"strings"
)

// capturedAllowed returns the CPUs that the cpuset files of a capture allow its process, all online ones when they say
// nothing.
func capturedAllowed(s *sysfs, online CPUSet) CPUSet {
	cpus, known := readCpuset(s, func(c cpusetFS) string { return c.cpus })
	if allowed := cpus.Intersect(online); known && !allowed.IsEmpty() {
		return allowed
	}
	return online
}

// readCpuset returns what a file of the process's cpuset holds. It follows cpuset(7) and
// Documentation/admin-guide/cgroup-v2.rst: find where the cpuset controller is mounted, then the process's own group,
// then that group's file.
func readCpuset(s *sysfs, file func(cpusetFS) string) (CPUSet, bool) {
	mount, ok := cpusetMount(s)
	if !ok {
		return CPUSet{}, false
	}
	group, ok := cpusetGroup(s)
	if !ok {
		return CPUSet{}, false
	}
	// Join cleans the path from the root down, so that ".." in a capture does not lead out of it.
	set, err := s.readParsed(path.Join("/", mount.dir, group, file(mount)), ParseCPUList)
	return set, err == nil
}

// cpusetFS is a mounted file system with cpusets: where, and the files of a group that hold its CPUs and memory nodes.
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
		case kind == "cpuset", kind == "cgroup" && slices.Contains(options, "cpuset") && slices.Contains(options, "noprefix"):
			return cpusetFS{dir, "cpus", "mems"}, true
		case kind == "cgroup" && slices.Contains(options, "cpuset"):
			return cpusetFS{dir, "cpuset.cpus", "cpuset.mems"}, true
		}
	}
	return cpusetFS{}, false
}

func hasCpusetController(s *sysfs, dir string) bool {
	controllers, _ := s.read(path.Join("/", dir, "cgroup.controllers"))
	return slices.Contains(strings.Fields(controllers), "cpuset")
}

// cpusetGroup returns the path of the captured process's group below the mount.
func cpusetGroup(s *sysfs) (string, bool) {
	if group, err := s.read("/proc/self/cpuset"); err == nil && group != "" {
		return group, true
	}
	groups, _ := s.read("/proc/self/cgroup")
	for line := range strings.Lines(groups) {
		// hierarchy-ID:controllers:path, with no controllers for version 2 (cgroups(7)).
		fields := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(fields) == 3 && (fields[1] == "" || fields[1] == "cpuset") {
			return fields[2], true
		}
	}
	return "", false
}
