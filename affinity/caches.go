package affinity

import (
	"cmp"
	"slices"
	"strconv"
)

// cacheSets are the sets of CPUs that share a cache: for every L3, and for every other cache that
// more than one core shares.
type cacheSets struct {
	l3s    []Cache
	others []Group
}

// cacheIndex is one cpu*/cache/index* folder. The kernel's numbers do not follow the caches'
// levels. An instruction cache has level 0 here.
type cacheIndex struct{ number, level int }

// cacheReader finds the caches that more than one core shares, and all L3s, with few reads. It goes
// through the caches of a core from the outermost inwards, stops at one that no other core shares,
// and does not read a cache again whose CPUs it knows.
type cacheReader struct {
	fs     *sysfs
	online CPUSet
	layout []cacheIndex   // outermost first
	seen   map[int]CPUSet // the CPUs whose caches are known, by index number
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

// learnLayout adds the caches of a CPU that are numbered above the known ones. It assumes that an
// index number means the same kind of cache for all CPUs, so for most CPUs this costs a single look
// for a file that does not exist.
func (r *cacheReader) learnLayout(cpu int) {
	const maxIndexes = 16
	for number := len(r.layout); number < maxIndexes; number++ {
		path := cachePath(cpu, number)
		level, err := r.fs.readInt(path + "/level")
		if err != nil {
			break
		}
		// Cores that share nothing but an instruction cache are not close to each other's data.
		if kind, _ := r.fs.read(path + "/type"); kind == "Instruction" {
			level = 0
		}
		r.layout = append(r.layout, cacheIndex{number, level})
		slices.SortStableFunc(r.layout, func(a, b cacheIndex) int {
			return cmp.Compare(b.level, a.level)
		})
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
