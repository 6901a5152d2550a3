package keeper

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/gpulaunch/gpulaunch/gpu/nvml/nvmltest"
	"github.com/gpulaunch/gpulaunch/launcher/internal/cgroup"
	"github.com/gpulaunch/gpulaunch/launcher/internal/link"
	"github.com/gpulaunch/gpulaunch/launcher/keeper/early"
	"github.com/gpulaunch/gpulaunch/launcher/launchertest"
)

// awaitListening waits until the keeper passes signals on. The supervisor must begin with "listen".
// Before that, a Go program that has been started takes no notice of SIGUSR1 (os/signal).
func (j *job) awaitListening(t *testing.T) {
	t.Helper()
	j.stdout.Await(t, "up")
	listens := launchertest.Poll(func() bool {
		j.signal(t, unix.SIGUSR1)
		return strings.Contains(j.stdout.String(), "listening\n")
	})
	if !listens {
		t.Fatalf("the keeper does not pass on SIGUSR1:\n%s", &j.stderr)
	}
}

// signal sends a signal to the keeper.
func (j *job) signal(t *testing.T, sig syscall.Signal) {
	t.Helper()
	if err := j.cmd.Process.Signal(sig); err != nil {
		t.Fatal(err)
	}
}

// TestHowASupervisorEnds checks what the keeper makes of the end of its supervisor.
func TestHowASupervisorEnds(t *testing.T) {
	for what, c := range map[string]struct {
		does []string
		code int
		says string // the standard error
	}{
		"it says that it exits": {[]string{"member", "say exit 3", "exit 3"}, 3, ""},
		"it exits": {[]string{"member", "exit 3"}, 125, "gpulaunch: the supervisor crashed: it " +
			"exited with code 3; killed 1 process of the job: MEMBER (exe)\n"},
		"it is killed": {[]string{"member", "die"}, 125, "gpulaunch: the supervisor terminated " +
			"with signal SIGKILL; killed 1 process of the job: MEMBER (exe)\n"},
		"a signal came before it listened": {[]string{"member", "die 15"}, 143, ""},
		"it is killed while it exits": {[]string{"member", "say exit 0", "die"}, 125,
			"gpulaunch: the supervisor terminated with signal SIGKILL; killed 1 process of the job: MEMBER " +
				"(exe)\n"},
		"it crashes after a good end": {[]string{"member", "say leave", "exit 0"}, 125,
			"gpulaunch: the supervisor crashed: it exited with code 0; killed 1 process of the " +
				"job: MEMBER (exe)\n"},
		"nothing is left": {[]string{"exit 4"}, 125,
			"gpulaunch: the supervisor crashed: it exited with code 4\n"},
	} {
		t.Run(what, func(t *testing.T) {
			j := startJob(t, c.does...)
			code := j.exit(t)
			says := strings.ReplaceAll(c.says, "MEMBER", strconv.Itoa(j.member()))
			if code != c.code || j.said() != says {
				t.Errorf("exit code %d and %q, want %d and %q", code, j.said(), c.code, says)
			}
			if c.does[0] == "member" {
				j.memberEnds(t)
			}
		})
	}
}

// TestFolderIsRemoved checks that the keeper removes the job's private folder with all that is in
// it.
func TestFolderIsRemoved(t *testing.T) {
	folder := filepath.Join(t.TempDir(), "a folder")
	if err := os.MkdirAll(filepath.Join(folder, "deep"), 0o700); err != nil {
		t.Fatal(err)
	}
	j := startJob(t, "say folder "+folder, "die")
	if code := j.exit(t); code != 125 {
		t.Errorf("exit code %d\n%s", code, j.said())
	}
	if _, err := os.Stat(folder); !os.IsNotExist(err) {
		t.Errorf("the folder is still there (%v)", err)
	}
}

// TestGroupIsKilled checks that the keeper kills the members of the job's control group even if
// they are no descendants of its own, and removes the group.
func TestGroupIsKilled(t *testing.T) {
	parent, reason := cgroup.Find()
	if parent == "" {
		nvmltest.NotOnThisMachine(t, "no control group can be made: "+reason)
	}
	g, err := cgroup.Make(parent, func(string) {})
	if err != nil {
		nvmltest.NotOnThisMachine(t, "no control group can be made: "+err.Error())
	}
	t.Cleanup(g.Close)
	outside := asRole("bystander")
	outside.SysProcAttr.UseCgroupFD, outside.SysProcAttr.CgroupFD = true, g.FD()
	if err := outside.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { // in case that the keeper does not
		_ = outside.Process.Kill()
		_ = outside.Wait()
		_ = cgroup.Remove(g.Path, launchertest.Patience)
	})
	j := startJob(t, "say cgroup "+g.Path, "exit 1")
	if code := j.exit(t); code != 125 {
		t.Errorf("exit code %d\n%s", code, j.said())
	}
	launchertest.Gone(t, strconv.Itoa(outside.Process.Pid))
	if _, err := os.Stat(g.Path); !os.IsNotExist(err) {
		t.Errorf("the group is still there (%v)", err)
	}
}

// TestChildrenFromBeforeAreSpared has a shell start something and then execute the keeper in its
// own place: that is no process of the job.
func TestChildrenFromBeforeAreSpared(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	const script = `"$0" ` + roleArg + ` bystander & exec "$0" ` + roleArg + ` keeper "$@"`
	j := startKeeper(t, exec.Command("sh", "-c", script, self, "member", "exit 3"))
	if code := j.exit(t); code != 125 {
		t.Errorf("exit code %d\n%s", code, j.said())
	}
	j.memberEnds(t)
	j.stdout.Await(t, "bystander")
	pid := j.pidOf("bystander")
	if err := unix.Kill(pid, unix.SIGKILL); err != nil {
		t.Errorf("the child from before: %v", err)
	}
}

// TestRequestsForTheEnd checks that the keeper passes requests for the end on, kills a supervisor
// that does not end after the third, and returns the code of the first.
func TestRequestsForTheEnd(t *testing.T) {
	j := startJob(t, "listen", "member", "read 3", "block")
	j.awaitListening(t)
	for i, want := range []byte{byte(unix.SIGINT), link.Kill, link.Quit} {
		if i > 0 {
			launchertest.AwaitSignalWindow()
		}
		j.signal(t, []syscall.Signal{unix.SIGINT, unix.SIGTERM, unix.SIGQUIT}[i])
		j.stdout.Await(t, fmt.Sprintf("got %d", want))
	}
	if code := j.exit(t); code != 130 || j.said() != "" {
		t.Errorf("exit code %d\n%s", code, j.said())
	}
	j.memberEnds(t)
	if unix.Kill(j.pidOf("up"), 0) == nil {
		t.Error("the supervisor lives")
	}
}

// TestOneRequestForTheEnd checks that the keeper waits for a supervisor that has been asked to end
// once, and returns its exit code.
func TestOneRequestForTheEnd(t *testing.T) {
	// It takes longer than a supervisor that has been asked to quit may.
	j := startJob(t, "listen", "read 1", "take 1500", "say exit 143", "exit 143")
	j.awaitListening(t)
	j.signal(t, unix.SIGTERM)
	if code := j.exit(t); code != 143 ||
		!strings.Contains(j.stdout.String(), "got 15\nhas taken 1500\n") {
		t.Errorf("exit code %d\n%s%s", code, &j.stdout, j.said())
	}
}

// TestSuspension checks that the keeper stops itself once its supervisor has stopped the workers,
// and that SIGCONT continues the supervisor, too.
func TestSuspension(t *testing.T) {
	j := startJob(t, "listen", "read 1", "say suspended", "read 1", "say exit 0", "exit 0")
	j.awaitListening(t)
	j.signal(t, unix.SIGTSTP)
	j.stdout.Await(t, "got 20")
	stopped := func(pid int) bool {
		return launchertest.Poll(func() bool {
			fields := launchertest.Stat(pid)
			return len(fields) > 0 && fields[0] == "T"
		})
	}
	if !stopped(j.cmd.Process.Pid) {
		t.Fatal("the keeper does not stop itself")
	}
	// At a terminal, the keeper stops the supervisor as well.
	supervisor := j.pidOf("up")
	if err := unix.Kill(supervisor, unix.SIGSTOP); err != nil || !stopped(supervisor) {
		t.Fatalf("the supervisor cannot be stopped (%v)", err)
	}
	j.signal(t, unix.SIGCONT)
	if code := j.exit(t); code != 0 || !strings.Contains(j.stdout.String(), "got 18\n") {
		t.Errorf("exit code %d\n%s%s", code, &j.stdout, j.said())
	}
}

// TestRequestWaitsForRoom checks that a request for the end reaches a supervisor that has not read
// for so long that the link is full.
func TestRequestWaitsForRoom(t *testing.T) {
	ours, theirs := launchertest.Link(t)
	k := &Keeper{supervisor: ours}
	for k.send(byte(unix.SIGWINCH)) == nil {
	}
	k.forward(unix.SIGTERM)
	got := make([]byte, 64)
	for {
		n, err := theirs.Read(got)
		if err != nil {
			t.Fatal(err)
		}
		if n > 0 && got[n-1] == byte(unix.SIGTERM) {
			return
		}
	}
}

// TestNoSupervisor checks what the keeper says if its supervisor cannot be started.
func TestNoSupervisor(t *testing.T) {
	for err, want := range map[error]string{
		unix.EAGAIN: "gpulaunch: cannot do so: resource temporarily unavailable; the limit on " +
			"processes is reached: see ulimit -u and the cgroup's pids.max\n",
		unix.ENOENT: "gpulaunch: cannot do so: no such file or directory; mount proc on /proc\n",
		unix.EINVAL: "gpulaunch: cannot do so: invalid argument\n",
	} {
		k := New(&early.Supervisor{Started: true, Err: err, Failed: "do so"})
		r, w, e := os.Pipe()
		if e != nil {
			t.Fatal(e)
		}
		stderr := os.Stderr
		os.Stderr = w
		code := k.Run()
		os.Stderr = stderr
		w.Close()
		text, _ := io.ReadAll(r)
		r.Close()
		if code != 125 || string(text) != want {
			t.Errorf("%v: exit code %d and %q, want 125 and %q", err, code, text, want)
		}
	}
}
