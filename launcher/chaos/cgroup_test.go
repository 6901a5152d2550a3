//go:build linux

package chaos

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// hostGroup makes a control group for a host, so that whatever a launcher makes
// lies in it; nil where none can be made. remove also ends what is left in it, for
// a host that could not.
func hostGroup(t testing.TB) (dir *os.File, remove func()) {
	none := func() {}
	root := cgroupRoot()
	if root == "" {
		return nil, none
	}
	path, err := os.MkdirTemp(filepath.Join(root, ownCgroup()), "chaos-")
	if err != nil {
		return nil, none
	}
	remove = func() {
		_ = os.WriteFile(filepath.Join(path, "cgroup.kill"), []byte("1"), 0)
		for _, below := range groupsIn(path) {
			_ = os.Remove(below)
		}
		if !poll(func() bool { return os.Remove(path) == nil }) {
			t.Errorf("%s cannot be removed", path)
		}
	}
	if dir, err = os.Open(path); err != nil {
		remove()
		return nil, none
	}
	return dir, remove
}

// groupsIn lists the control groups below one.
func groupsIn(path string) (list []string) {
	entries, _ := os.ReadDir(path)
	for _, e := range entries {
		if e.IsDir() {
			list = append(list, filepath.Join(path, e.Name()))
		}
	}
	return list
}

// cgroupRoot is where the version 2 hierarchy is mounted, "" if nowhere.
func cgroupRoot() string {
	for _, path := range []string{"/sys/fs/cgroup", "/sys/fs/cgroup/unified"} {
		var s unix.Statfs_t
		if unix.Statfs(path, &s) == nil && s.Type == unix.CGROUP2_SUPER_MAGIC {
			return path
		}
	}
	return ""
}

// ownCgroup is the path of this process in the version 2 hierarchy, "/" if none.
func ownCgroup() string {
	data, _ := os.ReadFile("/proc/self/cgroup")
	for line := range strings.Lines(string(data)) {
		if path, ok := strings.CutPrefix(line, "0::"); ok {
			return strings.TrimSpace(path)
		}
	}
	return "/"
}
