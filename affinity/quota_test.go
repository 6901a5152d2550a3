package affinity

import (
	"strings"
	"testing"

	"github.com/gpulaunch/gpulaunch/affinity/affinitytest"
)

func TestReadQuota(t *testing.T) {
	const v2 = "cgroup2 /sys/fs/cgroup cgroup2 rw 0 0"
	const v1 = "tmpfs /sys/fs/cgroup tmpfs rw 0 0\n" +
		"cgroup /sys/fs/cgroup/cpu,cpuacct cgroup rw,cpu,cpuacct 0 0"
	const c2, c1 = "/sys/fs/cgroup", "/sys/fs/cgroup/cpu,cpuacct"
	const mounts, group = "/proc/mounts", "/proc/self/cgroup"
	type files = map[string]string
	for _, test := range []struct {
		name    string
		files   files
		cpus    float64
		limited bool
		err     string
	}{
		{"nothing", nil, 0, false, ""},
		{"own group", files{
			mounts: v2, group: "0::/a/b", c2 + "/a/b/cpu.max": "150000 100000",
		}, 1.5, true, ""},
		{"no limit", files{
			mounts: v2, group: "0::/a", c2 + "/a/cpu.max": "max 100000",
		}, 0, false, ""},
		{"a parent's is less", files{
			mounts: v2, group: "0::/a/b/c", c2 + "/a/b/c/cpu.max": "800000 100000",
			c2 + "/a/b/cpu.max": "max 100000", c2 + "/a/cpu.max": "200000 100000",
		}, 2, true, ""},
		{"a parent's is more", files{
			mounts: v2, group: "0::/a/b",
			c2 + "/a/b/cpu.max": "50000 100000", c2 + "/a/cpu.max": "200000 100000",
		}, 0.5, true, ""},
		{"root of a container", files{
			mounts: v2, group: "0::/", c2 + "/cpu.max": "400000 100000",
		}, 4, true, ""},
		{"group above the container", files{
			mounts: v2, group: "0::/../../x", c2 + "/cpu.max": "400000 100000",
		}, 4, true, ""},
		{"not above the mount", files{
			mounts: v2, group: "0::/a", "/sys/fs/cpu.max": "1 1", "/cpu.max": "1 1",
		}, 0, false, ""},
		{"version 1", files{
			mounts: v1, group: "4:memory:/m\n3:cpu,cpuacct:/d/x",
			c1 + "/d/x/cpu.cfs_quota_us": "300000\n", c1 + "/d/x/cpu.cfs_period_us": "100000\n",
		}, 3, true, ""},
		{"version 1, no limit", files{
			mounts: v1, group: "3:cpu,cpuacct:/d",
			c1 + "/d/cpu.cfs_quota_us": "-1", c1 + "/d/cpu.cfs_period_us": "100000",
		}, 0, false, ""},
		{"version 1, a part of it mounted", files{
			mounts: v1, group: "3:cpu,cpuacct:/docker/x",
			c1 + "/cpu.cfs_quota_us": "250000", c1 + "/cpu.cfs_period_us": "100000",
		}, 2.5, true, ""},
		{"both versions", files{
			mounts: v1 + "\n" + v2 + "\n", group: "3:cpu:/d\n0::/a",
			c1 + "/d/cpu.cfs_quota_us": "500000", c1 + "/d/cpu.cfs_period_us": "100000",
			c2 + "/a/cpu.max": "900000 100000",
		}, 5, true, ""},
		{"another controller", files{
			mounts: "c /c cgroup rw,cpuset 0 0", group: "3:cpuset:/",
			"/c/cpu.cfs_quota_us": "1", "/c/cpu.cfs_period_us": "1",
		}, 0, false, ""},
		{"mounted twice", files{
			mounts: v2 + "\nx /other cgroup2 rw 0 0", group: "0::/",
			c2 + "/cpu.max": "max 1", "/other/cpu.max": "1 1",
		}, 0, false, ""},
		{"garbage", files{
			mounts: v2, group: "0::/a", c2 + "/a/cpu.max": "lots",
		}, 0, false, `/a/cpu.max: "lots" is not a quota`},
		{"no period", files{
			mounts: v1, group: "3:cpu:/", c1 + "/cpu.cfs_quota_us": "5",
		}, 0, false, ""},
		{"period 0", files{
			mounts: v1, group: "3:cpu:/",
			c1 + "/cpu.cfs_quota_us": "5", c1 + "/cpu.cfs_period_us": "0",
		}, 0, false, "cpu.cfs_quota_us"},
		{"odd lines", files{
			mounts: "x\n\n" + v2, group: "zz\n\n0::/a", c2 + "/a/cpu.max": "1 2",
		}, 0.5, true, ""},
	} {
		root := t.TempDir()
		writeFiles(t, root, test.files)
		cpus, limited, err := ReadQuota(root)
		if cpus != test.cpus || limited != test.limited {
			t.Errorf("%s: %v, %v, want %v, %v", test.name, cpus, limited, test.cpus, test.limited)
		}
		affinitytest.WantError(t, test.name, err, test.err)
	}
}

func FuzzParseCPUMax(f *testing.F) {
	for _, seed := range []string{
		"max 100000", "150000 100000", "0 1", "1 0", "-1 1", "1", "", "max", "1 2 3",
		"18446744073709551615 1",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		cpus, limited, err := parseCPUMax(text)
		if limited != (cpus > 0) || limited && err != nil {
			t.Errorf("%q: %v, %v, %v", text, cpus, limited, err)
		}
		if err != nil && strings.Contains(err.Error(), "\n") {
			t.Errorf("the error has several lines: %q", err)
		}
	})
}
