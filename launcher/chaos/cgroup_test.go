//go:build linux

package chaos

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/gpulaunch/gpulaunch/launcher/launchertest"
)

// hostGroup makes a control group for a host, so that all groups a launcher makes are inside it.
// dir is nil if none can be made. remove also kills what is left in it, in case the host could not.
func hostGroup(t testing.TB) (dir *os.File, remove func()) {
	nothing := func() {}
	root := cgroupRoot()
	if root == "" {
		return nil, nothing
	}
	path, err := os.MkdirTemp(filepath.Join(root, ownCgroup()), "chaos-")
	if err != nil {
		return nil, nothing
	}
	remove = func() {
		_ = os.WriteFile(filepath.Join(path, "cgroup.kill"), []byte("1"), 0)
		for _, below := range groupsIn(path) {
			_ = os.Remove(below)
		}
		if !launchertest.Poll(func() bool { return os.Remove(path) == nil }) {
			t.Errorf("cannot remove %s: its processes are still alive", path)
		}
	}
	if dir, err = os.Open(path); err != nil {
		remove()
		return nil, nothing
	}
	return dir, remove
}

// groupsIn returns the control groups in the group at path.
func groupsIn(path string) (list []string) {
	entries, _ := os.ReadDir(path)
	for _, e := range entries {
		if e.IsDir() {
			list = append(list, filepath.Join(path, e.Name()))
		}
	}
	return list
}

// cgroupRoot returns where the version 2 hierarchy is mounted, or "" if it is not.
func cgroupRoot() string {
	for _, path := range []string{"/sys/fs/cgroup", "/sys/fs/cgroup/unified"} {
		var s unix.Statfs_t
		if unix.Statfs(path, &s) == nil && s.Type == unix.CGROUP2_SUPER_MAGIC {
			return path
		}
	}
	return ""
}

// ownCgroup returns the path of this process's group in the version 2 hierarchy, or "/" if there is
// no such hierarchy.
func ownCgroup() string {
	data, _ := os.ReadFile("/proc/self/cgroup")
	for line := range strings.Lines(string(data)) {
		if path, ok := strings.CutPrefix(line, "0::"); ok {
			return strings.TrimSpace(path)
		}
	}
	return "/"
}
