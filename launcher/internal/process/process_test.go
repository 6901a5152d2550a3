package process

import (
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/gpulaunch/gpulaunch/launcher/launchertest"
)

func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "helper" {
		helper(os.Args[2:])
		return
	}
	os.Exit(m.Run())
}

// helper runs a process of a tree. It ignores SIGTERM, starts a process for the rest of args,
// prints its pid, and then waits if args[0] is "stay" or exits otherwise.
func helper(args []string) {
	signal.Ignore(unix.SIGTERM, unix.SIGHUP)
	if len(args) > 1 {
		child := exec.Command("/proc/self/exe", append([]string{"helper"}, args[1:]...)...)
		child.Stdout, child.Env = os.Stdout, []string{}
		child.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
		if err := child.Start(); err != nil {
			panic(err)
		}
	}
	fmt.Println(os.Getpid())
	if args[0] == "stay" {
		for {
			_ = unix.Pause()
		}
	}
}

// statLine returns a line of /proc/PID/stat.
func statLine(pid, name, rest string) string { return pid + " (" + name + ") " + rest }

// startTree starts helpers, each the child of the one before, and returns their pids.
func startTree(t *testing.T, args ...string) (pids []int) {
	t.Helper()
	cmd := exec.Command("/proc/self/exe", append([]string{"helper"}, args...)...)
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	cmd.Stdout = w
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	w.Close()
	for range args {
		var pid int
		if _, err := fmt.Fscan(r, &pid); err != nil {
			t.Fatal(err)
		}
		pids = append(pids, pid)
	}
	return pids
}

func reapAll() {
	for {
		if pid, err := unix.Wait4(-1, nil, unix.WNOHANG, nil); pid <= 0 || err != nil {
			return
		}
	}
}

// TestSweep kills a tree of which some middle processes have exited. Each process has a session of
// its own and no environment, and ignores SIGTERM.
func TestSweep(t *testing.T) {
	launchertest.BecomeSubreaper(t)
	wake := make(chan os.Signal, 1)
	signal.Notify(wake, unix.SIGCHLD)
	defer signal.Stop(wake)
	pids := startTree(t, "stay", "leave", "stay", "leave", "stay")
	ended, left := Sweep{Reap: reapAll, Wake: wake, Limit: SweepLimit}.Run()
	// Those that exit may not be gone yet, and are then killed, too.
	if len(ended) < 3 || len(left) != 0 || HasChildren() {
		t.Errorf("ended %v, left %v, children %v", ended, left, HasChildren())
	}
	for _, pid := range pids {
		if err := unix.Kill(pid, 0); err != unix.ESRCH {
			t.Errorf("process %d: %v", pid, err)
		}
	}
}

// TestSweepNeedsASubreaper is the negative control: without a subreaper, the kernel gives the
// orphan to another process, and the sweep cannot see it.
func TestSweepNeedsASubreaper(t *testing.T) {
	wake := make(chan os.Signal, 1)
	pids := startTree(t, "leave", "stay")
	orphan := max(pids[0], pids[1])
	left := launchertest.Poll(func() bool { // until the one that leaves has left
		reapAll()
		_, alive := Read(min(pids[0], pids[1]))
		d, ok := Read(orphan)
		return !alive && ok && d.Parent != os.Getpid()
	})
	if !left {
		d, ok := Read(orphan)
		t.Fatalf("of the processes %v one should have left the other: %+v, %v", pids, d, ok)
	}
	ended, _ := Sweep{Reap: reapAll, Wake: wake, Limit: SweepLimit}.Run()
	if len(ended) != 0 {
		t.Errorf("ended %v", ended)
	}
	if err := unix.Kill(orphan, unix.SIGKILL); err != nil { // it still exists
		t.Error(err)
	}
}

func TestSweepSpares(t *testing.T) {
	cmd := exec.Command("/proc/self/exe", "helper", "stay")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	spare := func(d Descendant) bool { return d.PID == cmd.Process.Pid }
	if ended, left := (Sweep{Spare: spare, Reap: func() {},
		Limit: SweepLimit}).Run(); len(ended) != 0 || len(left) != 0 {
		t.Errorf("ended %v, left %v", ended, left)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Error(err)
	}
	_ = cmd.Wait()
}

// TestSignalReachesNoOther checks that Signal signals neither a process that has taken the pid of
// one that is gone, nor one with that pid and another start time. Which signal has ended the helper
// tells whether the first one reached it, however long a signal takes to act: if it gets both, the
// kernel has it end by SIGKILL.
func TestSignalReachesNoOther(t *testing.T) {
	cmd := exec.Command("cat") // SIGUSR1 ends it, and no shell ignores that for its children
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	defer stdin.Close()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	d, ok := Read(cmd.Process.Pid)
	if !ok {
		t.Fatal("the helper cannot be read")
	}
	for _, other := range []uint64{d.start + 1, d.start - 1} {
		impostor := d
		impostor.start = other
		if err := impostor.Signal(unix.SIGKILL); err != nil {
			t.Error(err)
		}
	}
	if err := d.Signal(unix.SIGUSR1); err != nil {
		t.Error(err)
	}
	_ = cmd.Wait()
	if ws := cmd.ProcessState.Sys().(syscall.WaitStatus); ws.Signal() != unix.SIGUSR1 {
		t.Errorf("the helper ended with %s, want the SIGUSR1 that was meant for it", ws.Signal())
	}
	if err := d.Signal(unix.SIGKILL); err != nil {
		t.Errorf("a process that has gone: %v", err)
	}
}

func TestPeekEnded(t *testing.T) {
	cmd := exec.Command("/proc/self/exe", "helper", "leave")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	launchertest.Gone(t, strconv.Itoa(cmd.Process.Pid))
	for range 2 {
		if got := PeekEnded(); got != cmd.Process.Pid {
			t.Errorf("peeked %d, want %d", got, cmd.Process.Pid)
		}
	}
	if err := cmd.Wait(); err != nil { // it is still there to be waited for
		t.Error(err)
	}
	if got := PeekEnded(); got != 0 {
		t.Errorf("peeked %d, want nothing", got)
	}
}

func TestParseStat(t *testing.T) {
	rest := "S 7 9" + strings.Repeat(" 0", 8) + " 1 2 3 4" + strings.Repeat(" 0", 4) +
		" 123456 18446744073709551615 5"
	for _, name := range []string{"sh", "a b", "a) R 1 1", "((", "\n", ""} {
		d, u, ok := parseStat([]byte(statLine("42", name, rest)))
		if !ok || d.PID != 42 || d.Name != name || d.State != 'S' || d.Parent != 7 ||
			d.Group != 9 || d.start != 123456 {
			t.Errorf("%q: %+v %v", name, d, ok)
		}
		if u.CPU != 100*time.Millisecond || u.ResidentBytes != 5*uint64(os.Getpagesize()) {
			t.Errorf("%q: %+v", name, u)
		}
	}
	for _, bad := range []string{"", "42", "42 (sh", "42 sh) S 7", "x (sh) " + rest,
		statLine("42", "sh", "S 7 9"), ") 1 ("} {
		if d, _, ok := parseStat([]byte(bad)); ok {
			t.Errorf("%q gives %+v", bad, d)
		}
	}
}

func FuzzParseStat(f *testing.F) {
	f.Add([]byte(statLine("42", "a) (b", "S 7 9"+strings.Repeat(" 0", 16)+" 1 0 0")))
	f.Add([]byte("00()0 0 0" + strings.Repeat(" 0", 20)))
	f.Add([]byte("00()\xc0 0 0" + strings.Repeat(" 0", 20))) // a state that is no letter
	f.Fuzz(func(t *testing.T, data []byte) {
		d, _, ok := parseStat(data)
		if !ok {
			return
		}
		_, behind, found := strings.Cut(string(data), "("+d.Name+")")
		if !found || strings.Fields(behind)[0] != string([]byte{d.State}) {
			t.Errorf("%q gives name %q and state %c", data, d.Name, d.State)
		}
	})
}

func TestExitStatus(t *testing.T) {
	for want, c := range map[string]struct {
		status unix.WaitStatus // as wait(2) encodes it
		code   int
	}{
		"exited with code 3":                           {3 << 8, 3},
		"terminated with signal SIGKILL":               {9, 137},
		"terminated with signal SIGSEGV (core dumped)": {11 | 0x80, 139},
		"terminated with signal 40":                    {40, 168},
	} {
		got := ExitStatusOf(c.status)
		if got.String() != want || got.Code != c.code || got.OK() {
			t.Errorf("%q %d %v, want %q %d", got, got.Code, got.OK(), want, c.code)
		}
		if byKill := got.EndedBy(unix.SIGKILL); byKill != (c.status == 9) {
			t.Errorf("%q was ended by SIGKILL: %v", got, byKill)
		}
	}
	if s := ExitStatusOf(137 << 8); s.EndedBy(unix.SIGKILL) || !ExitStatusOf(0).OK() {
		t.Error("an exit code counts as a signal, or success as failure")
	}
}

func TestParseVMStat(t *testing.T) {
	text := "nr_free_pages 5\noom_kill 3\noom_kill_other 9\n"
	if n := parseVMStat(text, "oom_kill"); n != 3 {
		t.Errorf("%d", n)
	}
	for _, none := range []string{"", "oom_kill", "oom_kill x\n"} {
		if n := parseVMStat(none, "oom_kill"); n != 0 {
			t.Errorf("%q gives %d", none, n)
		}
	}
}

func TestUsageOfThisProcess(t *testing.T) {
	u, ok := ReadUsage(os.Getpid())
	if !ok || u.ResidentBytes < 1<<20 {
		t.Errorf("%+v, %v", u, ok)
	}
	if _, ok := ReadUsage(1 << 30); ok {
		t.Error("a process that cannot exist has a usage")
	}
}
