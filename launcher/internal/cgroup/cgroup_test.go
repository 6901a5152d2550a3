package cgroup

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
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
	const hybrid = "30 24 0:26 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n31 24 0:27 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n"
	for name, c := range map[string]struct{ mounts, own, want string }{
		"pure":                        {pure, "0::/user.slice/a b\n", "/sys/fs/cgroup/user.slice/a b"},
		"hybrid":                      {hybrid, "4:memory:/x\n0::/\n", "/sys/fs/cgroup/unified"},
		"a container's part":          {"1 1 0:1 /docker/abc /sys/fs/cgroup ro - cgroup2 cgroup rw", "0::/docker/abc/sub\n", "/sys/fs/cgroup/sub"},
		"another container's part":    {"1 1 0:1 /docker/abc /sys/fs/cgroup ro - cgroup2 cgroup rw", "0::/docker/abcd\n", ""},
		"outside of the namespace":    {pure, "0::/../other\n", ""},
		"version 1 only":              {"30 24 0:26 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n", "4:memory:/\n", ""},
		"escaped mount point":         {`1 1 0:1 / /mnt/c\040g rw - cgroup2 cgroup rw`, "0::/\n", "/mnt/c g"},
		"optional fields":             {"1 1 0:1 / /cg rw shared:4 master:1 - cgroup2 none rw\n", "0::/j\n", "/cg/j"},
		"nothing":                     {"", "", ""},
		"garbage":                     {" - \n - cgroup2\nx - cgroup2 y\n", "0::/\n0::x\n", ""},
		"a mount with another's name": {"1 1 0:1 / /cgroup2 rw - tmpfs cgroup2 rw\n", "0::/\n", ""},
	} {
		if parent, reason := locate(c.mounts, c.own); parent != c.want || (parent == "") != (reason != "") {
			t.Errorf("%s: %q, %q; want %q", name, parent, reason, c.want)
		}
	}
}

func FuzzLocate(f *testing.F) {
	f.Add("24 23 0:22 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n", "0::/a\n")
	f.Fuzz(func(t *testing.T, mounts, own string) {
		if parent, _ := locate(mounts, own); strings.Contains(parent, "/../") {
			t.Errorf("%q", parent)
		}
	})
}

// make makes a group, or skips.
func makeGroup(t *testing.T) *Group {
	t.Helper()
	// Not every machine that passes the other tests has a place for one, CI's included.
	parent, reason := Find()
	if parent == "" {
		t.Skipf("no control group can be made here: %s", reason)
	}
	g, err := Make(parent, func(string) {})
	if err != nil {
		t.Skipf("no control group can be made here: %v", err)
	}
	t.Cleanup(func() {
		Kill(g.Path)
		if err := Remove(g.Path, 10*time.Second); err != nil {
			t.Error(err)
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
		t.Fatal("a group with a member was removed")
	}
	if !Kill(g.Path) {
		_ = cmd.Process.Kill()
		t.Log("this kernel has no cgroup.kill")
	}
	if err := cmd.Wait(); err == nil || cmd.ProcessState.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
		t.Errorf("%v", err)
	}
	if err := os.Mkdir(filepath.Join(g.Path, "below"), 0o755); err != nil {
		t.Error(err)
	}
	if err := Remove(g.Path, 10*time.Second); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(g.Path); err == nil {
		t.Error("it is still there")
	}
}

func TestStaleGroupsAreRemoved(t *testing.T) {
	g := makeGroup(t)
	parent := filepath.Dir(g.Path)
	stale, alive := filepath.Join(parent, prefix+"999999999-1"), filepath.Join(parent, prefix+"1-1")
	for _, path := range []string{stale, alive} {
		if err := os.Mkdir(path, 0o755); err != nil {
			t.Fatal(err)
		}
		defer os.Remove(path)
	}
	makeGroup(t)
	if _, err := os.Stat(stale); err == nil {
		t.Error("the group of a dead launcher is still there")
	}
	if _, err := os.Stat(alive); err != nil {
		t.Error("the group of a living process was removed")
	}
}

func TestParseOOMKills(t *testing.T) {
	for events, want := range map[string]int{
		"low 0\nhigh 0\nmax 3\noom 2\noom_kill 2\noom_group_kill 0\n": 2,
		"oom_kill x\n": 0, "": 0, "oom_kill 7": 7,
	} {
		if got := parseOOMKills(events); got != want {
			t.Errorf("%q: %d, want %d", events, got, want)
		}
	}
}
