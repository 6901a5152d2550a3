package affinity

import (
	"errors"
	"io/fs"
)

// cpuReader reads the sets in cpu*/topology (Documentation/admin-guide/cputopology.rst).
type cpuReader struct {
	fs     *sysfs
	online CPUSet
}

// siblings returns the online CPUs that share something with cpu, from the first of the named files
// that can be read. Older kernels have other names for the same sets.
func (r *cpuReader) siblings(cpu int, names ...string) (CPUSet, error) {
	var err error
	for _, name := range names {
		var set CPUSet
		path := cpuPath(cpu) + "/topology/" + name
		if set, err = r.fs.readSet(path, path+"_list"); err == nil {
			return set.Intersect(r.online), nil
		}
	}
	return CPUSet{}, err
}

// cores returns the hardware threads of each physical core. The sets are disjoint, whatever the
// files say.
func (r *cpuReader) cores() []CPUSet {
	var cores []CPUSet
	remaining := r.online
	kind := unknownSiblings
	for cpu := range r.online.All() {
		if !remaining.Contains(cpu) {
			continue
		}
		set, _ := r.siblings(cpu, "core_cpus", "thread_siblings")
		set = set.Intersect(remaining).Union(CPUs(cpu))
		if set.Len() > 1 && kind == unknownSiblings {
			kind = r.kindOf(set)
		}
		if kind == separateCores {
			set = CPUs(cpu)
		}
		remaining = remaining.Subtract(set)
		cores = append(cores, set)
	}
	return cores
}

// siblingKind is what the kernel calls thread siblings on this machine.
type siblingKind int

const (
	unknownSiblings siblingKind = iota
	hardwareThreads
	separateCores
)

// kindOf returns what a set of siblings is. If each has a core ID of its own, they are cores: AMD's
// compute units (families 15h and 16h) are pairs of integer cores, which the kernel lists as
// siblings.
func (r *cpuReader) kindOf(siblings CPUSet) siblingKind {
	ids := map[int]bool{}
	for cpu := range siblings.All() {
		id, err := r.fs.readInt(cpuPath(cpu) + "/topology/core_id")
		if err != nil {
			return hardwareThreads
		}
		ids[id] = true
	}
	if len(ids) == siblings.Len() {
		return separateCores
	}
	return hardwareThreads
}

func (r *cpuReader) packages() []Package {
	var packages []Package
	for _, set := range r.level("package_cpus", "core_siblings") {
		id, err := r.fs.readInt(cpuPath(set.Min()) + "/topology/physical_package_id")
		if err != nil || id < 0 {
			id = -1
		}
		packages = append(packages, Package{ID: id, CPUs: set})
	}
	return packages
}

// groups returns the sets of those levels that only some machines have: dies (x86), clusters (x86
// and Arm), books and drawers (s390).
func (r *cpuReader) groups() []Group {
	var groups []Group
	for _, kind := range []struct{ name, file string }{
		{"cluster", "cluster_cpus"}, {"die", "die_cpus"},
		{"book", "book_siblings"}, {"drawer", "drawer_siblings"},
	} {
		for _, set := range r.level(kind.file) {
			if set.Len() > 1 {
				groups = append(groups, Group{kind.name, set})
			}
		}
	}
	return groups
}

// level returns the sets of one level, ordered by their lowest CPU. It reads one file for each set
// rather than one for each CPU. The kernel shows a level for all CPUs or for none, so it stops at
// the first CPU without the file.
func (r *cpuReader) level(names ...string) []CPUSet {
	var sets []CPUSet
	remaining := r.online
	for cpu := range r.online.All() {
		if !remaining.Contains(cpu) {
			continue
		}
		set, err := r.siblings(cpu, names...)
		if errors.Is(err, fs.ErrNotExist) {
			break
		}
		if set.Contains(cpu) {
			sets = append(sets, set)
			remaining = remaining.Subtract(set)
		}
	}
	return sets
}
