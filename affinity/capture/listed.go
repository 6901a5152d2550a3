package capture

import (
	"path"
	"strings"
)

const (
	cpuDir  = "sys/devices/system/cpu"
	nodeDir = "sys/devices/system/node"
)

// listed are the files of a machine that go into an archive as they are: numbers, lists and masks. A # stands for a
// decimal number. Folders that match are kept even when they are empty, because a node exists by its folder.
// Package affinity says what it reads them for; a file that it comes to read has to be listed here.
//
// Beside them stand what must not go in: topology/ppin is a serial number, meminfo changes all the time.
var listed = []struct {
	dir   string
	files []string
}{
	{cpuDir, []string{"possible", "present"}},
	{cpuDir + "/cpu#/topology", []string{
		"core_id", "cluster_id", "die_id", "physical_package_id", "book_id", "drawer_id",
		"core_cpus", "core_cpus_list", "thread_siblings", "thread_siblings_list",
		"cluster_cpus", "cluster_cpus_list", "die_cpus", "die_cpus_list",
		"package_cpus", "package_cpus_list", "core_siblings", "core_siblings_list",
		"book_siblings", "book_siblings_list", "drawer_siblings", "drawer_siblings_list",
	}},
	{cpuDir + "/cpu#/cache/index#", []string{"level", "type", "size", "shared_cpu_map", "shared_cpu_list"}},
	{nodeDir, []string{"online", "possible", "has_cpu", "has_memory", "has_normal_memory", "has_generic_initiator"}},
	{nodeDir + "/node#", []string{"cpumap", "cpulist", "distance"}},
	{nodeDir + "/node#/access#/initiators", []string{"read_bandwidth", "read_latency", "write_bandwidth", "write_latency"}},
}

// neighbours are the folders whose links, or folders, of these names say which nodes are near to which.
var neighbours = []string{nodeDir + "/node#/access#/initiators", nodeDir + "/node#/access#/targets"}

// cut are the files of which single lines go into an archive, by the word before the colon.
var cut = []struct {
	file string
	keys []string
}{
	{"proc/meminfo", []string{"MemTotal"}},
	{nodeDir + "/node#/meminfo", []string{"MemTotal"}},
}

func (a archive) addListed(from machine) {
	for _, l := range listed {
		for _, dir := range from.match(l.dir) {
			a.addFolder(dir)
			a.addFiles(from, dir, dir, l.files)
		}
	}
	for _, pattern := range neighbours {
		for _, name := range from.match(pattern + "/node#") {
			a.addLink(name, "../../../"+path.Base(name))
		}
		for _, dir := range from.match(pattern) {
			a.addFolder(dir)
		}
	}
	for _, c := range cut {
		for _, name := range from.match(c.file) {
			text, _ := from.read(name)
			if lines := linesOf(text, c.keys); lines != "" {
				a.addFile(name, lines)
			}
		}
	}
}

// addFiles adds those of the files in dir that can be read, in the archive's folder to.
func (a archive) addFiles(from machine, dir, to string, files []string) {
	for _, name := range files {
		if content, ok := from.read(dir + "/" + name); ok {
			a.addFile(to+"/"+name, content)
		}
	}
}

// match returns the paths that there are of a pattern.
func (m machine) match(pattern string) []string {
	found := []string{"."}
	for part := range strings.SplitSeq(pattern, "/") {
		var next []string
		for _, dir := range found {
			prefix, numbered := strings.CutSuffix(part, "#")
			if !numbered {
				next = append(next, path.Join(dir, part))
				continue
			}
			for _, name := range m.names(dir) {
				if digits, ok := strings.CutPrefix(name, prefix); ok && isNumber(digits) {
					next = append(next, path.Join(dir, name))
				}
			}
		}
		found = next
	}
	var there []string
	for _, name := range found {
		if _, err := m.root.Lstat(name); err == nil {
			there = append(there, name)
		}
	}
	return there
}

func isNumber(s string) bool {
	return s != "" && strings.Trim(s, "0123456789") == ""
}

// linesOf returns the lines of text whose last word before the colon is one of keys: "MemTotal: 1 kB" and, as nodes
// have it, "Node 0 MemTotal: 1 kB".
func linesOf(text string, keys []string) string {
	var kept strings.Builder
	for line := range strings.Lines(text) {
		before, _, _ := strings.Cut(line, ":")
		for _, key := range keys {
			if before == key || strings.HasSuffix(before, " "+key) {
				kept.WriteString(line)
			}
		}
	}
	return kept.String()
}
