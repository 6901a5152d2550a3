package capture

import (
	"path"
	"slices"
	"strings"
)

const (
	cpuDir  = "sys/devices/system/cpu"
	nodeDir = "sys/devices/system/node"
)

// copiedFiles are the files that go into an archive as they are: numbers, lists and masks. A #
// stands for a decimal number. Matching folders are kept even if they are empty, because a node
// exists if its folder does.
//
// Package affinity says what it reads these files for. If it reads another one, that file has to be
// added here. Files beside them must not be in an archive: topology/ppin is a serial number, and
// meminfo changes all the time.
var copiedFiles = []struct {
	dir   string
	files []string
}{
	{cpuDir, []string{"possible", "present"}},
	{cpuDir + "/cpu#", []string{"cpu_capacity"}},
	{cpuDir + "/cpu#/cpufreq", []string{"base_frequency"}},
	{"sys/devices/cpu_core", []string{"cpus"}},
	{"sys/devices/cpu_atom", []string{"cpus"}},
	{"sys/devices/cpu_lowpower", []string{"cpus"}},
	{cpuDir + "/cpu#/topology", []string{
		"core_id", "cluster_id", "die_id", "physical_package_id", "book_id", "drawer_id",
		"core_cpus", "core_cpus_list", "thread_siblings", "thread_siblings_list",
		"cluster_cpus", "cluster_cpus_list", "die_cpus", "die_cpus_list",
		"package_cpus", "package_cpus_list", "core_siblings", "core_siblings_list",
		"book_siblings", "book_siblings_list", "drawer_siblings", "drawer_siblings_list",
	}},
	{cpuDir + "/cpu#/cache/index#", []string{
		"level", "type", "size", "shared_cpu_map", "shared_cpu_list",
	}},
	{nodeDir, []string{
		"online", "possible", "has_cpu", "has_memory", "has_normal_memory", "has_generic_initiator",
	}},
	{nodeDir + "/node#", []string{"cpumap", "cpulist", "distance"}},
	{nodeDir + "/node#/access#/initiators", []string{
		"read_bandwidth", "read_latency", "write_bandwidth", "write_latency",
	}},
}

// nodeLinks are the folders with links, or folders, that are named after nodes and say which nodes
// are near to which.
var nodeLinks = []string{nodeDir + "/node#/access#/initiators", nodeDir + "/node#/access#/targets"}

// cutFiles are the files of which some lines go into an archive: those with one of the keys before
// the colon.
var cutFiles = []struct {
	file string
	keys []string
}{
	{"proc/meminfo", []string{"MemTotal"}},
	{nodeDir + "/node#/meminfo", []string{"MemTotal"}},
}

func (a archive) addListed(from machine) {
	for _, l := range copiedFiles {
		for _, dir := range from.match(l.dir) {
			a.addFolder(dir)
			a.addFiles(from, dir, dir, l.files)
		}
	}
	for _, pattern := range nodeLinks {
		for _, name := range from.match(pattern + "/node#") {
			a.addLink(name, "../../../"+path.Base(name))
		}
		for _, dir := range from.match(pattern) {
			a.addFolder(dir)
		}
	}
	for _, c := range cutFiles {
		for _, name := range from.match(c.file) {
			text, _ := from.read(name)
			if lines := linesOf(text, c.keys); lines != "" {
				a.addFile(name, lines)
			}
		}
	}
}

// addFiles adds those files in the folder dir that can be read. They go into the archive's folder
// to.
func (a archive) addFiles(from machine, dir, to string, files []string) {
	for _, name := range files {
		if content, ok := from.read(dir + "/" + name); ok {
			a.addFile(to+"/"+name, content)
		}
	}
}

// match returns the existing paths that match a pattern, in which # stands for a decimal number.
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
	return slices.DeleteFunc(found, func(name string) bool {
		_, err := m.root.Lstat(name)
		return err != nil
	})
}

func isNumber(s string) bool {
	return s != "" && strings.Trim(s, "0123456789") == ""
}

// linesOf returns the lines of text that have one of the keys before the colon, alone or as the
// last word: both "MemTotal: 1 kB" and "Node 0 MemTotal: 1 kB" have the key "MemTotal".
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
