package cgroup

import (
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/gpulaunch/gpulaunch/gpu/nvml/nvmltest"
)

func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "member" {
		for {
			_ = unix.Pause()
		}
	}
	os.Exit(m.Run())
}

func TestLocate(t *testing.T) {
	const pure = "24 23 0:22 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n"
	const version1 = "30 24 0:26 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"
	const hybrid = version1 + "31 24 0:27 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n"
	const container = "1 1 0:1 /docker/abc /sys/fs/cgroup ro - cgroup2 cgroup rw"
	const escaped = `1 1 0:1 / /mnt/c\040g rw - cgroup2 cgroup rw`
	const optional = "1 1 0:1 / /cg rw shared:4 master:1 - cgroup2 none rw\n"
	const tmpfs = "1 1 0:1 / /cgroup2 rw - tmpfs cgroup2 rw\n"
	const garbage = " - \n - cgroup2\nx - cgroup2 y\n"
	for name, c := range map[string]struct{ mounts, own, want string }{
		"version 2 only":           {pure, "0::/user.slice/a b\n", "/sys/fs/cgroup/user.slice/a b"},
		"both versions":            {hybrid, "4:memory:/x\n0::/\n", "/sys/fs/cgroup/unified"},
		"version 1 only":           {version1, "4:memory:/\n", ""},
		"a container's part":       {container, "0::/docker/abc/sub\n", "/sys/fs/cgroup/sub"},
		"another container's part": {container, "0::/docker/abcd\n", ""},
		"outside the namespace":    {pure, "0::/../other\n", ""},
		"an escaped mount point":   {escaped, "0::/\n", "/mnt/c g"},
		"optional fields":          {optional, "0::/j\n", "/cg/j"},
		"a tmpfs called cgroup2":   {tmpfs, "0::/\n", ""},
		"garbage":                  {garbage, "0::/\n0::x\n", ""},
		"nothing":                  {"", "", ""},
	} {
		parent, reason := locate(c.mounts, c.own)
		if parent != c.want || (parent == "") != (reason != "") {
			t.Errorf("%s: locate returns %q with the reason %q, want %q",
				name, parent, reason, c.want)
		}
	}
}

func FuzzLocate(f *testing.F) {
	f.Add("24 23 0:22 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n", "0::/a\n")
	f.Add("1 1 0:1 /a /../c\\040g rw shared:4 - cgroup2 none rw\n", "4:cpu:/\n0::/a/b\n")
	f.Add("1 1 0:1 / c rw - cgroup2 none rw\n", "0::/a\n")
	f.Add(" - \nx - cgroup2 y\n", "0::/../a")
	f.Fuzz(func(t *testing.T, mounts, own string) {
		parent, reason := locate(mounts, own)
		if (parent == "") == (reason == "") {
			t.Fatalf("the parent is %q and the reason why there is none %q", parent, reason)
		}
		if parent != "" && (!filepath.IsAbs(parent) || filepath.Clean(parent) != parent) {
			t.Errorf("the parent %q is no path from the root down", parent)
		}
	})
}

// makeGroup makes a group that is removed when the test ends. The test is skipped where none can
// be made, as on many machines that run all other tests, CI's among them.
func makeGroup(t *testing.T) *Group {
	t.Helper()
	parent, reason := Find()
	if parent == "" {
		nvmltest.NotOnThisMachine(t, "cannot make a control group: "+reason)
	}
	g, err := Make(parent, func(string) {})
	if err != nil {
		nvmltest.NotOnThisMachine(t, "cannot make a control group: "+err.Error())
	}
	t.Cleanup(func() {
		Kill(g.Path)
		if err := Remove(g.Path, 10*time.Second); err != nil {
			t.Errorf("cannot remove %s: %v", g.Path, err)
		}
		g.Close()
	})
	return g
}

func TestMembersAreKilledAtOnce(t *testing.T) {
	g := makeGroup(t)
	cmd := exec.Command("/proc/self/exe", "member")
	cmd.SysProcAttr = &syscall.SysProcAttr{UseCgroupFD: true, CgroupFD: g.FD(), Setsid: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if err := Remove(g.Path, 0); err == nil {
		t.Fatal("Remove removed a group that has a member")
	}
	if !Kill(g.Path) {
		_ = cmd.Process.Kill()
		t.Log("this kernel has no cgroup.kill")
	}
	_ = cmd.Wait()
	status := cmd.ProcessState.Sys().(syscall.WaitStatus)
	if !status.Signaled() || status.Signal() != syscall.SIGKILL {
		t.Errorf("the member ended with %s, want SIGKILL", cmd.ProcessState)
	}
	if err := os.Mkdir(filepath.Join(g.Path, "below"), 0o755); err != nil {
		t.Error(err)
	}
	if err := Remove(g.Path, 10*time.Second); err != nil {
		t.Errorf("cannot remove a group without members: %v", err)
	}
	if _, err := os.Stat(g.Path); err == nil {
		t.Errorf("%s still exists after Remove", g.Path)
	}
}

func TestParseOOMKills(t *testing.T) {
	for events, want := range map[string]int{
		"low 0\nhigh 0\nmax 3\noom 2\noom_kill 2\noom_group_kill 0\n": 2,
		"oom_kill x\n": 0, "": 0, "oom_kill 7": 7,
	} {
		if got := parseOOMKills(events); got != want {
			t.Errorf("parseOOMKills(%q) is %d, want %d", events, got, want)
		}
	}
}
