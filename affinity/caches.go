package affinity

import (
	"cmp"
	"slices"
	"strconv"
)

// cacheSets are the sets of CPUs below each cache that more than one core shares, and below every L3.
type cacheSets struct {
	l3s    []Cache
	others []Group
}

// cacheIndex is one cpu*/cache/index* folder: the kernel numbers a CPU's caches, not in the order of levels.
// Level 0 stands for an instruction cache.
type cacheIndex struct{ number, level int }

// cacheReader finds the caches that more than one core shares, and all L3s, with few reads: it goes from the outermost
// cache of a core inwards until no other core shares it, and does not read again a cache whose CPUs it knows.
type cacheReader struct {
	fs     *sysfs
	online CPUSet
	layout []cacheIndex   // outermost first
	seen   map[int]CPUSet // by index number
	found  cacheSets
}

func readCaches(s *sysfs, online CPUSet, cores []CPUSet) cacheSets {
	r := cacheReader{fs: s, online: online, seen: map[int]CPUSet{}}
	for _, core := range cores {
		r.learnLayout(core.Min())
		r.readCore(core)
	}
	return r.found
}

func cachePath(cpu, index int) string {
	return cpuPath(cpu) + "/cache/index" + strconv.Itoa(index)
}

// learnLayout adds the caches of a CPU that are numbered above the known ones. An index is taken to be the same kind of
// cache for all CPUs that have it, so that this mostly costs one look for a file that is not there.
func (r *cacheReader) learnLayout(cpu int) {
	const most = 16
	for number := len(r.layout); number < most; number++ {
		path := cachePath(cpu, number)
		level, err := r.fs.readInt(path + "/level")
		if err != nil {
			break
		}
		// Instruction caches do not count: cores that share nothing else are not close to each other's data.
		if kind, _ := r.fs.read(path + "/type"); kind == "Instruction" {
			level = 0
		}
		r.layout = append(r.layout, cacheIndex{number, level})
		slices.SortStableFunc(r.layout, func(a, b cacheIndex) int { return cmp.Compare(b.level, a.level) })
	}
}

func (r *cacheReader) readCore(core CPUSet) {
	cpu := core.Min()
	for _, index := range r.layout {
		if index.level == 0 || r.seen[index.number].Contains(cpu) {
			continue
		}
		path := cachePath(cpu, index.number) + "/shared_cpu_"
		set, err := r.fs.readSet(path+"map", path+"list")
		if set = set.Intersect(r.online); err != nil || !set.Contains(cpu) {
			continue
		}
		r.seen[index.number] = r.seen[index.number].Union(set)
		r.found.add(index.level, set, core)
		if set.SubsetOf(core) {
			break
		}
	}
}

func (c *cacheSets) add(level int, set, core CPUSet) {
	switch {
	case level == 3:
		c.l3s = append(c.l3s, Cache{set})
	case !set.SubsetOf(core):
		c.others = append(c.others, Group{"cache", set})
	}
}
