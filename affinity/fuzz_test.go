package affinity

import (
	"math"
	"strings"
	"testing"
)

// FuzzCpusetFiles checks the readers of mounts and control groups: whatever the files say, they
// name only CPUs that are online, at least one of them, and a quota is a positive number of CPUs.
func FuzzCpusetFiles(f *testing.F) {
	const v1 = "none /c cgroup rw,relatime,cpuset,cpu 0 0\n"
	f.Add(v1, "/a\n", "4:cpuset,cpu:/a\n", "2-3\n", "50000\n")
	f.Add("none /c cpuset rw 0 0\n", "/\n", "", "0,99\n", "-1\n")
	f.Add("x /c cgroup2 rw 0 0\n", "", "0::/a\n", "1\n", "max 100000\n")
	f.Add(v1+"x", "/../../a", "9:cpu:/..\n::", "zz", "0 0")
	f.Add("x /../c cgroup2 rw,noprefix 0 0", "\x00", "0::", "", "18446744073709551615 1")
	f.Add("none c cgroup cpu,cpu", "a", "0:cpu,:a:b", "7-0", "1 1")
	f.Fuzz(func(t *testing.T, mounts, cpuset, groups, list, quota string) {
		root := t.TempDir()
		writeFile(t, root, "/proc/mounts", mounts)
		writeFile(t, root, "/proc/self/cpuset", cpuset)
		writeFile(t, root, "/proc/self/cgroup", groups)
		writeFile(t, root, "/proc/self/status", "Mems_allowed_list:\t"+list)
		for _, dir := range []string{"/c", "/c/a", "/a"} {
			for _, name := range []string{"cpus", "cpuset.cpus", "cpuset.cpus.effective", "mems",
				"cpuset.mems", "cpuset.mems.effective"} {
				writeFile(t, root, dir+"/"+name, list)
			}
			for _, name := range []string{"cpu.max", "cpu.cfs_quota_us", "cpu.cfs_period_us"} {
				writeFile(t, root, dir+"/"+name, quota)
			}
			writeFile(t, root, dir+"/cgroup.controllers", "cpuset cpu")
		}
		s, err := openSysfs(root)
		if err != nil {
			t.Fatal(err)
		}
		defer s.close()
		online := CPUs(0, 1, 2, 3, 4, 5, 6, 7)
		if allowed := capturedAllowed(s, online); allowed.IsEmpty() || !allowed.SubsetOf(online) {
			t.Errorf("the CPUs %q are allowed of %s", allowed, online)
		}
		for _, node := range readAllowedMems(s) {
			if node < 0 || node > maxCPUs {
				t.Errorf("memory node %d is allowed", node)
			}
		}
		cpus, limited, err := s.readQuota()
		if limited && (err != nil || !(cpus > 0) || math.IsInf(cpus, 0)) || !limited && cpus != 0 {
			t.Errorf("the quota is %v CPUs, limited %v, %v", cpus, limited, err)
		}
	})
}

// FuzzLocalityFiles checks the reader of a device's place: whatever the files say, the node is a
// number or unknown, and the locality has the device's canonical name.
func FuzzLocalityFiles(f *testing.F) {
	f.Add("0000:0a:00.0", "1\n", "f\n", "0-3\n")
	f.Add("0000:0A:00.0", "-1\n", "\n", "\n")
	f.Add("A:0.0", "99999999999999999999", "zz,", "3-1")
	f.Add("00000000:0a:00.0", "-5", "0", "0-99999999")
	f.Add("\x00", "", "", "")
	f.Fuzz(func(t *testing.T, address, node, mask, list string) {
		root := t.TempDir()
		dir := pciDir + "0000:0a:00.0"
		writeFile(t, root, dir+"/numa_node", node)
		writeFile(t, root, dir+"/local_cpus", mask)
		writeFile(t, root, dir+"/local_cpulist", list)
		loc, err := ReadLocality(root, address)
		if loc.NUMANode < -1 {
			t.Errorf("%q with node %q: node %d", address, node, loc.NUMANode)
		}
		canonical, bad := CanonicalPCI(address)
		switch {
		case bad != nil && (err == nil || loc.Name != address || !loc.CPUs.IsEmpty()):
			t.Errorf("%q is no address: %+v, %v", address, loc, err)
		case bad == nil && loc.Name != canonical:
			t.Errorf("%q is called %q, want %q", address, loc.Name, canonical)
		}
		if err != nil && strings.Contains(err.Error(), "\n") {
			t.Errorf("the error has several lines: %q", err)
		}
	})
}
