package affinity

import (
	"fmt"
	"os"
	"slices"
)

// Topology is what is known of a machine's CPUs: plain data, as read from one root folder. All sets but Allowed hold
// online CPUs only.
type Topology struct {
	// Online are the CPUs that run.
	Online CPUSet `json:"online"`
	// Allowed are the online CPUs that this process may use. Nothing is ever bound to any other.
	Allowed CPUSet `json:"allowed"`
	// AllowedMems are the NUMA nodes whose memory this process may use, ascending. Nil: unknown, which is taken for all.
	AllowedMems []int `json:"allowed_memory_nodes,omitempty"`
	// Packages are the sockets, by their lowest CPU. Empty when the kernel does not say.
	Packages []Package `json:"packages"`
	// Nodes are the NUMA nodes, by ID. IDs may have gaps. There is at least one.
	Nodes []Node `json:"numa_nodes"`
	// L3s are the level 3 caches, by their lowest CPU.
	L3s []Cache `json:"l3_caches"`
	// Cores are the physical cores. Their order follows the machine's tree: by the lowest CPU of each set that contains
	// the core, the largest first, then by the core's own lowest CPU.
	Cores []Core `json:"cores"`
	// Groups are the other sets in the machine's tree.
	Groups []Group `json:"groups,omitempty"`
}

// Package is a processor socket.
type Package struct {
	ID   int    `json:"id"` // the kernel's physical_package_id, -1 when unknown
	CPUs CPUSet `json:"cpus"`
}

// Node is a NUMA node. It may have CPUs, memory, both or, as the kernel allows it, neither.
type Node struct {
	ID          int    `json:"id"`
	CPUs        CPUSet `json:"cpus"`
	MemoryBytes uint64 `json:"memory_bytes"` // 0: no memory
	// Distances maps node IDs to the firmware's relative distances (SLIT; 10 is the distance to itself). Nil: unknown.
	Distances map[int]int `json:"distances,omitempty"`
	// Initiators are the nodes whose CPUs reach this node's memory fastest, by the firmware's HMAT table
	// (Documentation/admin-guide/mm/numaperf.rst). Empty: unknown.
	Initiators []int `json:"initiators,omitempty"`
	// DeviceMemory says that the memory is a device's own, such as that of a GPU which the CPUs can address (POWER9,
	// Grace), and no place for a program's memory.
	DeviceMemory bool `json:"device_memory,omitempty"`
}

// Cache is a cache that several hardware threads share.
type Cache struct {
	CPUs CPUSet `json:"cpus"`
}

// Core is a physical core.
type Core struct {
	ID      int    `json:"id"`      // its place in [Topology.Cores]; the kernel's core_id is unique in a package only
	Package int    `json:"package"` // the ID of its package, -1 when unknown
	CPUs    CPUSet `json:"cpus"`    // its hardware threads
}

// Group is a set of CPUs between the machine and its cores that is no package, node or L3.
type Group struct {
	Kind string `json:"kind"` // "die", "cluster", "book", "drawer" or "cache"
	CPUs CPUSet `json:"cpus"`
}

// ReadTopology reads the machine below root: "" or "/" for the live one, otherwise a folder that holds the sys (and,
// for the allowed CPUs, proc) tree of a captured one. What is optional in /sys may be missing: without node/ there is
// one node 0 with all CPUs, without topology/ every CPU is a core of its own.
//
// On the live machine the allowed CPUs are the affinity mask of this process's main thread. The kernel keeps it within
// the cpuset cgroup and the running CPUs (sched_getaffinity(2), cpuset(7)), so nothing else needs to be read. For a
// capture they come from its own cpuset files.
//
// It fails when there is no CPU below root/sys/devices/system/cpu. The caller may go on without binding anything.
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
		// Containers may show a cpu/online of their own making (lxcfs); what the scheduler says is true.
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
	for _, set := range cores {
		t.Cores = append(t.Cores, Core{Package: t.packageOf(set), CPUs: set})
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

// orderCores puts the cores into the order of the machine's tree and numbers them.
func (t *Topology) orderCores() {
	place := make(map[int]int, len(t.Cores)) // of a core's lowest CPU
	for i, core := range t.tree().cores() {
		place[core.cpus.Min()] = i
	}
	slices.SortFunc(t.Cores, func(a, b Core) int { return place[a.CPUs.Min()] - place[b.CPUs.Min()] })
	for i := range t.Cores {
		t.Cores[i].ID = i
	}
}

// UsableNodes returns the IDs of the nodes that have an allowed CPU, ascending. There is always at least one entry: the
// node 0 when no node is known to have an allowed CPU.
func (t *Topology) UsableNodes() []int {
	if nodes := t.nodesOf(t.Allowed); len(nodes) > 0 {
		return nodes
	}
	return []int{0}
}

// nodesOf returns the IDs of the nodes that have a CPU in set, ascending, never nil.
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

// errNoCPUs says that a root has no CPUs to read.
func errNoCPUs(s *sysfs, why error) error {
	if s.live() {
		return fmt.Errorf("cannot read the machine's CPUs: %w; mount sysfs on /sys, or run without CPU binding", why)
	}
	return fmt.Errorf("cannot read the machine's CPUs: %w; give a folder that holds the sys tree of a machine", why)
}
