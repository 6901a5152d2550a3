package affinity

import "testing"

func TestCapturedAllowed(t *testing.T) {
	const v1 = "none /dev/cpuset cgroup rw,relatime,cpuset 0 0"
	const mounts, cpuset = "/proc/mounts", "/proc/self/cpuset"
	type files = map[string]string
	for _, test := range []struct {
		name  string
		files files
		want  string
	}{
		{"nothing", nil, "0-7"},
		{"version 1", files{
			mounts: v1, cpuset: "/a", "/dev/cpuset/a/cpuset.cpus": "2-3",
		}, "2-3"},
		{"version 1 by cgroup", files{
			mounts: v1, "/proc/self/cgroup": "9:cpu:/x\n4:cpuset:/a",
			"/dev/cpuset/a/cpuset.cpus": "2-3",
		}, "2-3"},
		{"version 1, no prefix", files{
			mounts: v1[:len(v1)-4] + ",noprefix 0 0", cpuset: "/a", "/dev/cpuset/a/cpus": "4",
		}, "4"},
		{"cpuset", files{
			mounts: "none /dev/cpuset cpuset rw 0 0", cpuset: "/", "/dev/cpuset/cpus": "5,99",
		}, "5"},
		{"version 2", cgroup2().files, "0-5"},
		{"version 2 without the controller", files{
			mounts: "x /c cgroup2 rw 0 0", "/c/cgroup.controllers": "cpu",
			"/c/cpuset.cpus.effective": "1",
		}, "0-7"},
		{"no group", files{mounts: v1}, "0-7"},
		{"no CPUs", files{
			mounts: v1, cpuset: "/a", "/dev/cpuset/a/cpuset.cpus": "",
		}, "0-7"},
		{"garbage", files{
			mounts: v1 + "\nx", cpuset: "/a", "/dev/cpuset/a/cpuset.cpus": "zz",
		}, "0-7"},
		{"out of the capture", files{
			mounts: v1, cpuset: "/../../../a", "/a/cpuset.cpus": "6",
		}, "6"},
	} {
		root := t.TempDir()
		for name, content := range test.files {
			writeFile(t, root, name, content+"\n")
		}
		s, err := openSysfs(root)
		if err != nil {
			t.Fatal(err)
		}
		defer s.close()
		if got := capturedAllowed(s, parseList(t, "0-7")); got.String() != test.want {
			t.Errorf("%s: %s, want %s", test.name, got, test.want)
		}
	}
}
