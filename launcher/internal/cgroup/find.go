// Package cgroup gives a job a control group of its own, on systems where a process may create
// version 2 control groups (Documentation/admin-guide/cgroup-v2.rst in the kernel's source).
//
// A control group knows its members even if they fork, change their session or lose their
// parent, and the kernel can kill all of them at once. No other mechanism does both.
package cgroup

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// Find returns the folder of the control group that this process is in. Jobs can have control
// groups below it. If they cannot, parent is "" and reason says why. Find changes nothing.
//
// The version 2 hierarchy may be mounted anywhere: on /sys/fs/cgroup if it is the only one, or
// in another place next to version 1.
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
		return "", fmt.Sprintf("cannot write to %s: %v", parent, err)
	}
	return parent, ""
}

// locate does the work of Find with the contents of /proc/self/mountinfo and /proc/self/cgroup
// (proc_pid_mountinfo(5), cgroups(7)). It does not check permissions.
func locate(mounts, own string) (parent, reason string) {
	path, ok := ownPath(own)
	if !ok {
		return "", "this process is not in a version 2 control group"
	}
	for line := range strings.Lines(mounts) {
		before, after, found := strings.Cut(line, " - ")
		fields, kind := strings.Fields(before), strings.Fields(after)
		if !found || len(fields) < 5 || len(kind) < 1 || kind[0] != "cgroup2" {
			continue
		}
		// In a container the mount shows only a part of the hierarchy: field 4 is the root of
		// that part.
		inside, ok := within(path, unescape(fields[3]))
		if !ok {
			continue
		}
		if at := unescape(fields[4]); filepath.IsAbs(at) {
			return filepath.Join(at, inside), ""
		}
	}
	return "", "no mounted cgroup2 file system shows this process's control group"
}

// ownPath returns the path in the line "0::/path", which is the one of the version 2 hierarchy.
func ownPath(own string) (string, bool) {
	for line := range strings.Lines(own) {
		path, ok := strings.CutPrefix(strings.TrimSuffix(line, "\n"), "0::")
		if ok && strings.HasPrefix(path, "/") {
			return path, true
		}
	}
	return "", false
}

// within returns the part of path below root, and false if path is not below root. A process
// outside its cgroup namespace has a path such as "/../x" (cgroup_namespaces(7)), which is not
// below any root.
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

// unescape replaces the octal escapes that mountinfo uses for white space and backslashes.
func unescape(s string) string {
	return strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`).Replace(s)
}
