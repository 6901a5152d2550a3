package launcher

import (
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/gpulaunch/gpulaunch/gpu/nvml/nvmltest"
	"github.com/gpulaunch/gpulaunch/launcher/internal/cgroup"
	"github.com/gpulaunch/gpulaunch/launcher/launchertest"
)

// newAttempt returns an attempt that does not run, for a test that calls its effects. g may be nil.
func (h *harness) newAttempt(g *cgroup.Group) *Attempt {
	h.t.Helper()
	p := h.plan(1)
	s, err := newShared(&p, &h.cfg)
	if err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(s.close)
	return newAttempt(&p, s, 0, g, nil)
}

// child is a child of this process that no attempt has started.
type child struct {
	*exec.Cmd
	out launchertest.Buffer
}

// startChild starts a program of launchertest's workers in a process group of its own, and returns
// when it is ready. It is killed when the test ends, if it still runs.
func startChild(t *testing.T, g *cgroup.Group, program ...string) *child {
	t.Helper()
	c := &child{Cmd: exec.Command("/proc/self/exe", launchertest.WorkerArgs(program...)...)}
	c.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if g != nil {
		c.SysProcAttr.UseCgroupFD, c.SysProcAttr.CgroupFD = true, g.FD()
	}
	c.Stdout = &c.out
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = c.Process.Kill()
		_ = c.Wait()
	})
	c.out.Await(t, "ready")
	return c
}

// signal sends a signal to the child.
func (c *child) signal(t *testing.T, sig syscall.Signal) {
	t.Helper()
	if err := unix.Kill(c.Process.Pid, sig); err != nil {
		t.Fatal(err)
	}
}

// TestLeftoversAreAskedOnce checks that a leftover whose process group has received the signal that
// asks for the end does not receive it again, and that another one does.
func TestLeftoversAreAskedOnce(t *testing.T) {
	for want, asked := range map[string]bool{"got SIGWINCH\n": true, "got SIGTERM\n": false} {
		t.Run(strings.TrimSpace(want), func(t *testing.T) {
			h := newHarness(t)
			a := h.newAttempt(nil)
			c := startChild(t, nil, "relay")
			a.signalled[c.Process.Pid] = asked
			a.askLeftovers(unix.SIGTERM)
			if asked {
				// Of signals that wait together, the one with the lower number comes first, so a
				// SIGTERM would be reported before this one.
				c.signal(t, unix.SIGWINCH)
			}
			if got := c.out.Await(t, "got "); got != want {
				t.Errorf("a leftover that has been asked (%v) reports %q, want %q", asked, got,
					want)
			}
			if len(h.logged) != 1 ||
				!strings.Contains(h.logged[0], "1 process that they left behind") {
				t.Errorf("logged %q", h.logged)
			}
		})
	}
}

// TestStoppedLeftoversAreContinued checks that a leftover that is stopped can act on the signal
// that asks for its end.
func TestStoppedLeftoversAreContinued(t *testing.T) {
	a := newHarness(t).newAttempt(nil)
	c := startChild(t, nil, "relay")
	c.signal(t, unix.SIGSTOP)
	if !launchertest.Poll(func() bool { return launchertest.Stat(c.Process.Pid)[0] == "T" }) {
		t.Fatal("it does not stop")
	}
	a.askLeftovers(unix.SIGTERM)
	c.out.Await(t, "got SIGTERM")
}

// TestKillAllKillsTheGroup checks that the end of the grace period kills the members of the job's
// control group at once. Without a sweep, nothing else reaches this one.
func TestKillAllKillsTheGroup(t *testing.T) {
	parent, reason := cgroup.Find()
	if parent == "" {
		nvmltest.NotOnThisMachine(t, "no control group can be made: "+reason)
	}
	g, err := cgroup.Make(parent, func(string) {})
	if err != nil {
		nvmltest.NotOnThisMachine(t, "no control group can be made: "+err.Error())
	}
	t.Cleanup(func() {
		if err := cgroup.Remove(g.Path, launchertest.Patience); err != nil {
			t.Error(err)
		}
		g.Close()
	})
	a := newHarness(t).newAttempt(g)
	member, other := startChild(t, g, "ignore"), startChild(t, nil, "ignore")
	if left := a.killAll(); left != 0 {
		t.Errorf("%d are left of those that a job without a sweep knows", left)
	}
	launchertest.Gone(t, strconv.Itoa(member.Process.Pid))
	other.signal(t, 0) // it is no member, and still there
	if state := launchertest.Stat(other.Process.Pid); !slices.Contains([]string{"S", "R"},
		state[0]) {
		t.Errorf("a process outside of the group is in state %s", state[0])
	}
}
