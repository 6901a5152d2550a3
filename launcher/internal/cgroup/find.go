// Package cgroup gives a job a control group of its own, where cgroup version 2
// (Documentation/admin-guide/cgroup-v2.rst in the kernel's source) can be written
// to. A control group knows its members whatever they do, and ends them all at
// once; nothing else does.
package cgroup

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// Find looks for the control group that this process is in, below which those of jobs
// can be made, and changes nothing. It takes the unified hierarchy wherever it is
// mounted: alone on /sys/fs/cgroup, or beside version 1. parent is the group's folder, or
// "" when none can be made there, and then reason says why.
func Find() (parent, reason string) {
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return "", err.Error()
	}
	own, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return "", err.Error()
	}
	parent, reason = locate(string(mounts), string(own))
	if parent == "" {
		return "", reason
	}
	if err := unix.Access(parent, unix.W_OK|unix.X_OK); err != nil {
		return "", fmt.Sprintf("%s cannot be written: %v", parent, err)
	}
	return parent, ""
}

// locate puts together what mountinfo and /proc/self/cgroup say (proc(5),
// cgroups(7)).
func locate(mounts, own string) (parent, reason string) {
	path, ok := ownPath(own)
	if !ok {
		return "", "this process is in no control group of version 2"
	}
	for line := range strings.Lines(mounts) {
		before, after, found := strings.Cut(line, " - ")
		fields, kind := strings.Fields(before), strings.Fields(after)
		if !found || len(fields) < 5 || len(kind) < 1 || kind[0] != "cgroup2" {
			continue
		}
		// A container sees a part of the hierarchy as its root (field 4).
		inside, ok := within(path, unescape(fields[3]))
		if !ok {
			continue
		}
		return filepath.Join(unescape(fields[4]), inside), ""
	}
	return "", "cgroup version 2 is not mounted"
}

// ownPath finds the line of the unified hierarchy, "0::/path".
func ownPath(own string) (string, bool) {
	for line := range strings.Lines(own) {
		if path, ok := strings.CutPrefix(strings.TrimSuffix(line, "\n"), "0::"); ok && strings.HasPrefix(path, "/") {
			return path, true
		}
	}
	return "", false
}

// within gives the rest of path below root. A path that leads out of the root
// ("/../x", for a process outside of its cgroup namespace) is not within it.
func within(path, root string) (string, bool) {
	if strings.Contains(path, "/..") {
		return "", false
	}
	if root == "/" {
		return path, true
	}
	rest, ok := strings.CutPrefix(path, root)
	if !ok || (rest != "" && rest[0] != '/') {
		return "", false
	}
	return rest, true
}

// unescape undoes mountinfo's octal escapes of white space and backslashes.
func unescape(s string) string {
	return strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`).Replace(s)
}
