package affinity

import "testing"

func TestCapturedAllowed(t *testing.T) {
	const v1 = "none /dev/cpuset cgroup rw,relatime,cpuset 0 0"
	for _, test := range []struct {
		name  string
		files map[string]string
		want  string
	}{
		{"nothing", nil, "0-7"},
		{"version 1", map[string]string{"/proc/mounts": v1, "/proc/self/cpuset": "/a", "/dev/cpuset/a/cpuset.cpus": "2-3"}, "2-3"},
		{"version 1 by cgroup", map[string]string{"/proc/mounts": v1, "/proc/self/cgroup": "9:cpu:/x\n4:cpuset:/a", "/dev/cpuset/a/cpuset.cpus": "2-3"}, "2-3"},
		{"version 1, no prefix", map[string]string{"/proc/mounts": v1[:len(v1)-4] + ",noprefix 0 0", "/proc/self/cpuset": "/a", "/dev/cpuset/a/cpus": "4"}, "4"},
		{"cpuset", map[string]string{"/proc/mounts": "none /dev/cpuset cpuset rw 0 0", "/proc/self/cpuset": "/", "/dev/cpuset/cpus": "5,99"}, "5"},
		{"version 2", cgroup2().files, "0-5"},
		{"version 2 without the controller", map[string]string{"/proc/mounts": "x /c cgroup2 rw 0 0", "/c/cgroup.controllers": "cpu", "/c/cpuset.cpus.effective": "1"}, "0-7"},
		{"no group", map[string]string{"/proc/mounts": v1}, "0-7"},
		{"no CPUs", map[string]string{"/proc/mounts": v1, "/proc/self/cpuset": "/a", "/dev/cpuset/a/cpuset.cpus": ""}, "0-7"},
		{"garbage", map[string]string{"/proc/mounts": v1 + "\nx", "/proc/self/cpuset": "/a", "/dev/cpuset/a/cpuset.cpus": "zz"}, "0-7"},
		{"out of the capture", map[string]string{"/proc/mounts": v1, "/proc/self/cpuset": "/../../../a", "/a/cpuset.cpus": "6"}, "6"},
	} {
		root := t.TempDir()
		for name, content := range test.files {
			writeFile(t, root+name, content+"\n")
		}
		s, err := openSysfs(root)
		if err != nil {
			t.Fatal(err)
		}
		if got := capturedAllowed(s, parseList(t, "0-7")); got.String() != test.want {
			t.Errorf("%s: %s, want %s", test.name, got, test.want)
		}
	}
}
