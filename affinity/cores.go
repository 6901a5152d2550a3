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

// siblings returns the online CPUs that share something with cpu, from the first of the named files that is there. Old
// kernels have older names for the same sets.
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

// cores returns the sets of hardware threads of the physical cores, disjoint whatever the files say.
func (r *cpuReader) cores() []CPUSet {
	var cores []CPUSet
	left := r.online
	units := unknownUnits
	for cpu := range r.online.All() {
		if !left.Contains(cpu) {
			continue
		}
		set, _ := r.siblings(cpu, "core_cpus", "thread_siblings")
		set = set.Intersect(left).Union(CPUs(cpu))
		if set.Len() > 1 && units == unknownUnits {
			units = r.unitsOf(set)
		}
		if units == separateCores {
			set = CPUs(cpu)
		}
		left = left.Subtract(set)
		cores = append(cores, set)
	}
	return cores
}

// units says what the kernel's thread siblings are on this machine.
type units int

const (
	unknownUnits units = iota
	hardwareThreads
	separateCores
)

// unitsOf looks at the first siblings there are. Those with core IDs of their own are not hardware threads: AMD's
// compute units (families 15h and 16h) are pairs of integer cores, which the kernel lists as siblings.
func (r *cpuReader) unitsOf(siblings CPUSet) units {
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

// groups returns the levels that only some machines have: dies (x86), clusters (x86, Arm), books and drawers (s390).
func (r *cpuReader) groups() []Group {
	var groups []Group
	for _, kind := range []struct{ name, file string }{
		{"cluster", "cluster_cpus"}, {"die", "die_cpus"}, {"book", "book_siblings"}, {"drawer", "drawer_siblings"},
	} {
		for _, set := range r.level(kind.file) {
			if set.Len() > 1 {
				groups = append(groups, Group{kind.name, set})
			}
		}
	}
	return groups
}

// level returns the sets of one level by their lowest CPU, reading one file per set and not one per CPU. A kernel shows
// a level for all CPUs or for none, so it stops at the first CPU without the file.
func (r *cpuReader) level(names ...string) []CPUSet {
	var sets []CPUSet
	left := r.online
	for cpu := range r.online.All() {
		if !left.Contains(cpu) {
			continue
		}
		set, err := r.siblings(cpu, names...)
		if errors.Is(err, fs.ErrNotExist) {
			break
		}
		if set.Contains(cpu) {
			sets = append(sets, set)
			left = left.Subtract(set)
		}
	}
	return sets
}
