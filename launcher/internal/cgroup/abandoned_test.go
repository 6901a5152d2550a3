package cgroup

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/gpulaunch/gpulaunch/gpu/nvml/nvmltest"
)

// startMember starts a process in the group at path. It ends with the test.
func startMember(t *testing.T, path string) *exec.Cmd {
	t.Helper()
	dir, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer dir.Close()
	cmd := exec.Command("/proc/self/exe", "member")
	cmd.SysProcAttr = &syscall.SysProcAttr{UseCgroupFD: true, CgroupFD: int(dir.Fd())}
	if err := cmd.Start(); err != nil {
		nvmltest.NotOnThisMachine(t, "no process can be started in a group: "+err.Error())
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	return cmd
}

// makeParent makes a group that is no job's, below which a test can make groups of jobs.
func makeParent(t *testing.T) string {
	t.Helper()
	parent := filepath.Join(filepath.Dir(makeGroup(t).Path), "gpulaunch-test")
	parent, err := os.MkdirTemp(filepath.Dir(parent), filepath.Base(parent))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		Kill(parent)
		if err := Remove(parent, 10*time.Second); err != nil {
			t.Errorf("cannot remove %s: %v", parent, err)
		}
	})
	return parent
}

func pathsOf(list []Abandoned) (paths []string) {
	for _, a := range list {
		paths = append(paths, a.Path)
	}
	return paths
}

// TestAbandonedGroups has a group whose launcher is gone and one whose launcher lives. The pids in
// their names say the opposite, as they can in another PID namespace.
func TestAbandonedGroups(t *testing.T) {
	parent := makeParent(t)
	gone := filepath.Join(parent, prefix+"1-1")
	if err := os.Mkdir(gone, 0o755); err != nil {
		t.Fatal(err)
	}
	alive := filepath.Join(parent, prefix+"999999999-1")
	if err := os.Mkdir(alive, 0o755); err != nil {
		t.Fatal(err)
	}
	lock, err := openLocked(alive)
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Close()
	below := filepath.Join(gone, "below")
	if err := os.Mkdir(below, 0o755); err != nil {
		t.Fatal(err)
	}
	lost, other := startMember(t, below), startMember(t, alive)

	found := FindAbandoned(parent)
	if got := pathsOf(found); !slices.Equal(got, []string{gone}) {
		t.Fatalf("the abandoned groups are %q, want %q", got, gone)
	}
	if m := found[0].Members; len(m) != 1 || m[0].PID != lost.Process.Pid || m[0].Name == "" {
		t.Errorf("its members are %v, want process %d", m, lost.Process.Pid)
	}
	if got := pathsOf(FindAllAbandoned(alive)); !slices.Contains(got, gone) {
		t.Errorf("in the whole hierarchy, %q are abandoned, which lacks %q", got, gone)
	}
	if got := pathsOf(EndAbandoned(parent)); !slices.Equal(got, []string{gone}) {
		t.Errorf("%q were ended, want %q", got, gone)
	}
	_ = lost.Wait()
	if ws := lost.ProcessState.Sys().(syscall.WaitStatus); ws.Signal() != syscall.SIGKILL {
		t.Errorf("its member ended with %s", lost.ProcessState)
	}
	if _, err := os.Stat(gone); err == nil {
		t.Errorf("%s still exists", gone)
	}
	if err := other.Process.Signal(syscall.Signal(0)); err != nil {
		t.Errorf("the member of the group whose launcher lives: %v", err)
	}
	if Members(alive) == nil {
		t.Error("the group whose launcher lives has lost its member")
	}
}

// TestEmptyAbandonedGroup: nothing is to be said about a group without members.
func TestEmptyAbandonedGroup(t *testing.T) {
	parent := makeParent(t)
	empty := filepath.Join(parent, prefix+"1-1")
	if err := os.Mkdir(empty, 0o755); err != nil {
		t.Fatal(err)
	}
	if got := EndAbandoned(parent); len(got) != 0 {
		t.Errorf("%q were ended", pathsOf(got))
	}
	if _, err := os.Stat(empty); err == nil {
		t.Errorf("%s still exists", empty)
	}
}

// TestOtherUsersGroup: a group of another user is left alone, whatever its lock says.
func TestOtherUsersGroup(t *testing.T) {
	if os.Geteuid() != 0 {
		nvmltest.Unavailable(t, "a group of another user needs root")
	}
	parent := makeParent(t)
	path := filepath.Join(parent, prefix+"1-1")
	if err := os.Mkdir(path, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(path, 65534, 65534); err != nil {
		nvmltest.NotOnThisMachine(t, "a group cannot be given away: "+err.Error())
	}
	member := startMember(t, path)
	if got := EndAbandoned(parent); len(got) != 0 {
		t.Errorf("%q were ended", pathsOf(got))
	}
	if err := member.Process.Signal(syscall.Signal(0)); err != nil {
		t.Errorf("its member: %v", err)
	}
}

// TestRelease: members that are released outlive the group, and nobody takes them for abandoned.
func TestRelease(t *testing.T) {
	parent := makeParent(t)
	g, err := Make(parent, func(string) {})
	if err != nil {
		t.Fatal(err)
	}
	member := startMember(t, g.Path)
	g.Release()
	g.Close()
	if _, err := os.Stat(g.Path); err == nil {
		t.Errorf("%s still exists", g.Path)
	}
	if got := EndAbandoned(parent); len(got) != 0 {
		t.Errorf("%q were ended", pathsOf(got))
	}
	if err := member.Process.Signal(syscall.Signal(0)); err != nil {
		t.Errorf("the released process: %v", err)
	}
	if got := Members(parent); !slices.Contains(got, member.Process.Pid) {
		t.Errorf("%v are in the group above, which lacks %d", got, member.Process.Pid)
	}
}

// TestMarkedGroup: a group whose members could not be moved out of it is not taken for abandoned.
func TestMarkedGroup(t *testing.T) {
	parent := makeParent(t)
	path := filepath.Join(parent, prefix+"1-1")
	if err := os.MkdirAll(filepath.Join(path, leftBehind), 0o755); err != nil {
		t.Fatal(err)
	}
	member := startMember(t, path)
	if got := EndAbandoned(parent); len(got) != 0 {
		t.Errorf("%q were ended", pathsOf(got))
	}
	if err := member.Process.Signal(syscall.Signal(0)); err != nil {
		t.Errorf("its member: %v", err)
	}
}

// TestMakeWhileOthersLook makes groups while other launchers look for abandoned ones without pause.
// A group that was taken before it was locked is made again.
func TestMakeWhileOthersLook(t *testing.T) {
	parent := makeParent(t)
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for {
			select {
			case <-stop:
				return
			default:
				EndAbandoned(parent)
			}
		}
	}()
	for range 200 {
		g, err := Make(parent, func(string) {})
		if err != nil {
			t.Error(err)
			break
		}
		if err := unix.Access(g.Path, unix.F_OK); err != nil {
			t.Errorf("the group is gone: %v", err)
		}
		_ = Remove(g.Path, time.Second)
		g.Close()
	}
	close(stop)
	<-stopped
}
