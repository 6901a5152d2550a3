package affinity

import (
	"fmt"
	"os"
	"slices"
)

// Topology is what is known about a machine's CPUs and NUMA nodes: plain data, as [ReadTopology]
// reads it. All sets hold online CPUs only.
type Topology struct {
	// Online are the CPUs that are running.
	Online CPUSet `json:"online"`
	// Allowed are the online CPUs that this process may use. No worker is ever bound to another
	// one.
	Allowed CPUSet `json:"allowed"`
	// AllowedMems are the NUMA nodes whose memory this process may use, in ascending order. Nil
	// means that they are unknown; all nodes count as allowed then.
	AllowedMems []int `json:"allowed_memory_nodes,omitempty"`
	// Packages are the sockets, ordered by their lowest CPU. Empty when the kernel does not show
	// them.
	Packages []Package `json:"packages"`
	// Nodes are the NUMA nodes, ordered by ID. The IDs may have gaps. There is at least one node.
	Nodes []Node `json:"numa_nodes"`
	// L3s are the level 3 caches, ordered by their lowest CPU.
	L3s []Cache `json:"l3_caches"`
	// Cores are the physical cores in the order of the machine's tree: they are ordered by the
	// lowest CPU of the largest set that contains them, then of the next smaller one, and so on
	// down to the core itself.
	Cores []Core `json:"cores"`
	// Groups are the other sets in the machine's tree.
	Groups []Group `json:"groups,omitempty"`
}

// Package is a processor socket.
type Package struct {
	ID   int    `json:"id"` // the kernel's physical_package_id; -1 when unknown
	CPUs CPUSet `json:"cpus"`
}

// Node is a NUMA node. It may have CPUs, memory, both or (the kernel allows that) neither.
type Node struct {
	ID          int    `json:"id"`
	CPUs        CPUSet `json:"cpus"`
	MemoryBytes uint64 `json:"memory_bytes"` // 0 when it has no memory
	// Distances are the relative distances to all nodes by their IDs, as the firmware's SLIT table
	// has them: 10 is a node's distance to itself. Nil when they are unknown.
	Distances map[int]int `json:"distances,omitempty"`
	// Initiators are the other nodes whose CPUs reach this node's memory fastest, as the firmware's
	// HMAT table has them (Documentation/admin-guide/mm/numaperf.rst). Empty when they are unknown.
	Initiators []int `json:"initiators,omitempty"`
	// DeviceMemory reports that the memory belongs to a device, such as a GPU whose memory the CPUs
	// can address (POWER9, Grace). It is not for the memory of programs.
	DeviceMemory bool `json:"device_memory,omitempty"`
}

// Cache is a level 3 cache with the CPUs that share it.
type Cache struct {
	CPUs CPUSet `json:"cpus"`
}

// Core is a physical core.
type Core struct {
	// ID is the core's index in [Topology.Cores]. The kernel's core_id is not used, because it is
	// unique only within a package.
	ID      int    `json:"id"`
	Package int    `json:"package"` // the ID of its package; -1 when unknown
	CPUs    CPUSet `json:"cpus"`    // its hardware threads
	// Speed tells the kinds of cores of a hybrid machine apart: it is 0 for the slowest kind, 1 for
	// the next faster one, and so on. It is 0 for all cores if they are of one kind, and if the
	// kernel does not tell.
	Speed int `json:"speed,omitempty"`
}

// Group is a set of CPUs that is larger than a core and is not a package, a NUMA node or an L3.
type Group struct {
	Kind string `json:"kind"` // "die", "cluster", "book", "drawer" or "cache"
	CPUs CPUSet `json:"cpus"`
}

// ReadTopology reads a machine's topology. The root "" or "/" is the live machine; any other is a
// folder that holds the sys tree of a captured machine and, for the allowed CPUs, its proc tree.
// Parts of sys that are optional may be missing: without system/node there is one node 0 with all
// CPUs, and without cpu*/topology every CPU is a core of its own.
//
// On the live machine, the allowed CPUs are the affinity mask of this process's main thread. The
// kernel keeps that mask within the cpuset cgroup and the online CPUs (sched_getaffinity(2),
// cpuset(7)), so nothing else has to be read. Those of a captured machine come from its cpuset
// files.
//
// It fails when root/sys/devices/system/cpu shows no CPU that is online. Callers can do without a
// topology by not binding anything.
func ReadTopology(root string) (*Topology, error) {
	s, err := openSysfs(root)
	if err != nil {
		return nil, fmt.Errorf("cannot read the machine's CPUs: %w", err)
	}
	defer s.close()
	return s.readTopology()
}

func (s *sysfs) readTopology() (*Topology, error) {
	online, err := readOnline(s)
	if err != nil {
		return nil, err
	}
	allowed := online
	if s.live() {
		if allowed, err = Current(os.Getpid()); err != nil {
			return nil, err
		}
		// In a container, lxcfs may show a cpu/online file of its own. The scheduler knows better.
		online = online.Union(allowed)
	} else {
		allowed = capturedAllowed(s, online)
	}
	return readSets(s, online, allowed), nil
}

func readSets(s *sysfs, online, allowed CPUSet) *Topology {
	t := &Topology{Online: online, Allowed: allowed}
	r := cpuReader{fs: s, online: online}
	cores := r.cores()
	t.Packages = r.packages()
	t.Groups = r.groups()
	caches := readCaches(s, online, cores)
	t.L3s = caches.l3s
	t.Groups = append(t.Groups, caches.others...)
	t.Nodes = readNodes(s, online)
	t.AllowedMems = readAllowedMems(s)
	for i, speed := range r.speeds(cores) {
		core := Core{Package: t.packageOf(cores[i]), CPUs: cores[i], Speed: speed}
		t.Cores = append(t.Cores, core)
	}
	t.orderCores()
	return t
}

func (t *Topology) packageOf(core CPUSet) int {
	for _, p := range t.Packages {
		if p.CPUs.Contains(core.Min()) {
			return p.ID
		}
	}
	return -1
}

// orderCores sorts the cores into the order of the machine's tree and numbers them.
func (t *Topology) orderCores() {
	position := make(map[int]int, len(t.Cores)) // by a core's lowest CPU
	for i, core := range t.rootDomain().cores() {
		position[core.cpus.Min()] = i
	}
	slices.SortFunc(t.Cores, func(a, b Core) int {
		return position[a.CPUs.Min()] - position[b.CPUs.Min()]
	})
	for i := range t.Cores {
		t.Cores[i].ID = i
	}
}

// UsableNodes returns the IDs of the nodes that have an allowed CPU, in ascending order. There is
// always at least one: if no node is known to have an allowed CPU, it returns node 0.
func (t *Topology) UsableNodes() []int {
	if nodes := t.nodesOf(t.Allowed); len(nodes) > 0 {
		return nodes
	}
	return []int{0}
}

// nodesOf returns the IDs of the nodes that have a CPU in set, in ascending order. It never returns
// nil, which JSON would show as null.
func (t *Topology) nodesOf(set CPUSet) []int {
	ids := []int{}
	for _, n := range t.Nodes {
		if n.CPUs.intersects(set) {
			ids = append(ids, n.ID)
		}
	}
	slices.Sort(ids)
	return ids
}

func (t *Topology) node(id int) (Node, bool) {
	i := slices.IndexFunc(t.Nodes, func(n Node) bool { return n.ID == id })
	if i < 0 {
		return Node{}, false
	}
	return t.Nodes[i], true
}

// errNoCPUs returns the error for a root folder without CPUs.
func errNoCPUs(s *sysfs, cause error) error {
	remedy := "give a folder that holds the sys tree of a machine"
	if s.live() {
		remedy = "mount sysfs on /sys, or run without CPU binding"
	}
	return fmt.Errorf("cannot read the machine's CPUs: %w; %s", cause, remedy)
}
