package affinity

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
	"testing"

	"github.com/gpulaunch/gpulaunch/affinity/internal/rootfs"
)

// synthetic describes a machine whose sys tree a test writes. All sets are CPU lists.
type synthetic struct {
	noOnlineFile bool
	cores        []string
	packages     []string // their IDs are 0, 1, …
	l3s          []string
	l2s          []string
	nodes        map[int]string
	distances    map[int]string
	files        map[string]string // more files, or other content for the above
}

// write writes the tree and returns its root.
func (m synthetic) write(t testing.TB) string {
	t.Helper()
	root := t.TempDir()
	files := map[string]string{}
	var online CPUSet
	for _, list := range m.cores {
		online = online.Union(parseList(t, list))
	}
	if !m.noOnlineFile {
		files[cpuDir+"/online"] = online.String()
	}
	m.siblings(t, files, "core_cpus", m.cores)
	m.siblings(t, files, "package_cpus", m.packages)
	for id, list := range m.packages {
		for cpu := range parseList(t, list).All() {
			files[cpuPath(cpu)+"/topology/physical_package_id"] = fmt.Sprint(id)
		}
	}
	m.caches(t, files, 0, 2, m.l2s)
	m.caches(t, files, 1, 3, m.l3s)
	for id, list := range m.nodes {
		files[nodePath(id)+"/cpumap"] = maskOf(parseList(t, list))
		files[nodePath(id)+"/cpulist"] = list
		files[nodePath(id)+"/meminfo"] = fmt.Sprintf(
			"Node %d MemTotal:       1048576 kB\nNode %d MemFree: 5 kB", id, id)
	}
	for id, distances := range m.distances {
		files[nodePath(id)+"/distance"] = distances
	}
	for name, content := range m.files {
		files[name] = content
	}
	for name := range files {
		files[name] += "\n"
	}
	writeFiles(t, root, files)
	return root
}

func (m synthetic) siblings(t testing.TB, files map[string]string, name string, lists []string) {
	for _, list := range lists {
		set := parseList(t, list)
		for cpu := range set.All() {
			files[cpuPath(cpu)+"/topology/"+name] = maskOf(set)
		}
	}
}

func (m synthetic) caches(t testing.TB, files map[string]string, index, level int, lists []string) {
	for _, list := range lists {
		set := parseList(t, list)
		for cpu := range set.All() {
			files[cachePath(cpu, index)+"/level"] = fmt.Sprint(level)
			files[cachePath(cpu, index)+"/shared_cpu_map"] = maskOf(set)
		}
	}
}

// writeFiles writes files of a machine below a root folder, by their paths on that machine.
func writeFiles(t testing.TB, root string, contents map[string]string) {
	t.Helper()
	files := openRoot(t, root)
	defer files.Close()
	for name, content := range contents {
		if err := files.MkdirAll(path.Dir(relative(name))); err != nil {
			t.Fatal(err)
		}
		file, err := files.Create(relative(name))
		if err != nil {
			t.Fatal(err)
		}
		_, err = file.WriteString(content)
		if err := errors.Join(err, file.Close()); err != nil {
			t.Fatal(err)
		}
	}
}

func writeFile(t testing.TB, root, name, content string) {
	t.Helper()
	writeFiles(t, root, map[string]string{name: content})
}

func openRoot(t testing.TB, root string) *rootfs.FS {
	t.Helper()
	files, err := rootfs.Open(root, rootfs.Native())
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// copyMachine copies a machine's files to another root folder, except for some paths.
func copyMachine(t *testing.T, root, copied string, layout rootfs.Layout, without ...string) {
	t.Helper()
	from := openRoot(t, root)
	defer from.Close()
	to, err := rootfs.Open(copied, layout)
	if err != nil {
		t.Fatal(err)
	}
	defer to.Close()
	err = fs.WalkDir(from, ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if slices.Contains(without, "/"+name) {
			if entry.IsDir() {
				return fs.SkipDir
			}
			return nil
		}
		return copyEntry(from, to, name, entry)
	})
	if err != nil {
		t.Fatal(err)
	}
}

func copyEntry(from, to *rootfs.FS, name string, entry fs.DirEntry) error {
	switch {
	case entry.IsDir():
		return to.MkdirAll(name)
	case entry.Type() == fs.ModeSymlink:
		target, err := from.ReadLink(name)
		return errors.Join(err, to.Symlink(target, name))
	}
	content, err := from.ReadRegular(name, 1<<20)
	if err != nil {
		return err
	}
	file, err := to.Create(name)
	if err != nil {
		return err
	}
	_, err = file.Write(content)
	return errors.Join(err, file.Close())
}

func parseList(t testing.TB, list string) CPUSet {
	t.Helper()
	set, err := ParseCPUList(list)
	if err != nil {
		t.Fatal(err)
	}
	return set
}

// maskOf returns a set in the kernel's mask format.
func maskOf(set CPUSet) string {
	var groups []string
	for group := max(0, set.Max()) / 32; group >= 0; group-- {
		var bits uint32
		for i := range 32 {
			if set.Contains(group*32 + i) {
				bits |= 1 << i
			}
		}
		groups = append(groups, fmt.Sprintf("%08x", bits))
	}
	return strings.Join(groups, ",")
}

// grid returns a machine of equal parts, with one L3 per node. The second threads of all cores are
// numbered after all first threads, as on x86.
func grid(packages, nodesPerPackage, coresPerNode, threads int) synthetic {
	m := synthetic{nodes: map[int]string{}, distances: map[int]string{}}
	nodes := packages * nodesPerPackage
	cores := nodes * coresPerNode
	lists := func(first, count int) string {
		var parts []string
		for thread := range threads {
			start := first + thread*cores
			parts = append(parts, fmt.Sprintf("%d-%d", start, start+count-1))
		}
		return strings.Join(parts, ",")
	}
	for core := range cores {
		m.cores = append(m.cores, lists(core, 1))
		m.l2s = append(m.l2s, lists(core, 1))
	}
	for p := range packages {
		size := nodesPerPackage * coresPerNode
		m.packages = append(m.packages, lists(p*size, size))
	}
	for n := range nodes {
		m.nodes[n] = lists(n*coresPerNode, coresPerNode)
		m.l3s = append(m.l3s, m.nodes[n])
		m.distances[n] = gridDistances(n, nodes, nodesPerPackage)
	}
	return m
}

func gridDistances(node, nodes, perPackage int) string {
	var row []string
	for other := range nodes {
		switch {
		case other == node:
			row = append(row, "10")
		case other/perPackage == node/perPackage:
			row = append(row, "12")
		default:
			row = append(row, "32")
		}
	}
	return strings.Join(row, " ")
}

// addDevices adds n PCI devices to the machine, evenly spread over its nodes.
func (m *synthetic) addDevices(t testing.TB, n int) (addresses []string) {
	if m.files == nil {
		m.files = map[string]string{}
	}
	for i := range n {
		addr := fmt.Sprintf("0000:%02x:00.0", i+1)
		node := i * len(m.nodes) / n
		m.files[pciDir+addr+"/numa_node"] = fmt.Sprint(node)
		m.files[pciDir+addr+"/local_cpus"] = maskOf(parseList(t, m.nodes[node]))
		addresses = append(addresses, addr)
	}
	return addresses
}

func mustRead(t testing.TB, root string) *Topology {
	t.Helper()
	topo, err := ReadTopology(root)
	if err != nil {
		t.Fatal(err)
	}
	return topo
}
