package process

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/gpulaunch/gpulaunch/gpu/nvml/nvmltest"
	"github.com/gpulaunch/gpulaunch/launcher/launchertest"
)

// startCat starts a child that waits for its standard input until the test ends, and returns it
// once it does.
func startCat(t *testing.T) Descendant {
	t.Helper()
	cmd := exec.Command("cat")
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		stdin.Close()
		_ = cmd.Wait()
	})
	var d Descendant
	waits := launchertest.Poll(func() (ok bool) {
		d, ok = Read(cmd.Process.Pid)
		return ok && d.Name == "cat" && d.State == 'S'
	})
	if !waits {
		t.Fatalf("cat does not wait: %+v", d)
	}
	return d
}

// startZombie starts a child that ends at once and is not waited for until the test ends.
func startZombie(t *testing.T) Descendant {
	t.Helper()
	cmd := exec.Command("true")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Wait() })
	var d Descendant
	ended := launchertest.Poll(func() (ok bool) {
		d, ok = Read(cmd.Process.Pid)
		return ok && d.State == 'Z'
	})
	if !ended {
		t.Fatalf("true does not end: %+v", d)
	}
	return d
}

func TestWithState(t *testing.T) {
	cat, zombie := startCat(t), startZombie(t)
	want := fmt.Sprintf("%d (cat, state S", cat.PID)
	// The kernel writes a single 0 for a process that does not wait, or that may not be traced.
	if channel, err := os.ReadFile(fmt.Sprintf("/proc/%d/wchan", cat.PID)); err == nil &&
		string(channel) != "0" {
		want += " in " + string(channel)
	}
	for what, c := range map[string]struct {
		d    Descendant
		want string
	}{
		"one that waits":     {cat, want + ")"},
		"one that has ended": {zombie, fmt.Sprintf("%d (true, state Z)", zombie.PID)},
		"one that is gone":   {Descendant{PID: 1 << 30, Name: "sh"}, "1073741824 (sh)"},
	} {
		if got := c.d.WithState(); got != c.want {
			t.Errorf("%s: %q, want %q", what, got, c.want)
		}
	}
	if got := DescribeUnkillable([]Descendant{zombie}); got !=
		"1 process cannot be killed: "+zombie.WithState() {
		t.Errorf("%q", got)
	}
}

func TestDescribe(t *testing.T) {
	var list []Descendant
	names := []string{}
	for pid := 1; pid <= 10; pid++ {
		list = append(list, Descendant{PID: pid, Name: "sh"})
		names = append(names, fmt.Sprintf("%d (sh)", pid))
	}
	for n, want := range map[int]string{
		1:  "1 process left: 1 (sh)",
		8:  "8 processes left: " + strings.Join(names[:8], ", "),
		9:  "9 processes left: " + strings.Join(names[:8], ", ") + ", and 1 more",
		10: "10 processes left: " + strings.Join(names[:8], ", ") + ", and 2 more",
	} {
		if got := Describe(list[:n], "left"); got != want {
			t.Errorf("%d: %q, want %q", n, got, want)
		}
	}
}

// TestDescendants checks that children of children are listed, and that one that is spared is left
// out together with its own.
func TestDescendants(t *testing.T) {
	other := startCat(t)
	pids := startTree(t, "stay", "stay", "stay")
	slices.Sort(pids) // each was started by the one before
	t.Cleanup(func() {
		for _, pid := range slices.Backward(pids) {
			_ = unix.Kill(pid, unix.SIGKILL)
		}
		_, _ = unix.Wait4(pids[0], nil, 0, nil)
	})
	for what, c := range map[string]struct {
		spared int
		want   []int
	}{
		"all":                     {0, append([]int{other.PID}, pids...)},
		"without the first child": {pids[0], []int{other.PID}},
		"without its child":       {pids[1], []int{other.PID, pids[0]}},
		"without another child":   {other.PID, pids},
	} {
		spare := func(d Descendant) bool { return d.PID == c.spared }
		list, err := DescendantsExcept(os.Getpid(), spare)
		if c.spared == 0 {
			list, err = Descendants(os.Getpid())
		}
		var got []int
		for _, d := range list {
			got = append(got, d.PID)
		}
		slices.Sort(got)
		slices.Sort(c.want)
		if err != nil || !slices.Equal(got, c.want) {
			t.Errorf("%s: %v, want %v (%v)", what, got, c.want, err)
		}
	}
}

// TestNoDescriptorIsLeft checks that neither reading /proc nor a signal leaves a descriptor open.
func TestNoDescriptorIsLeft(t *testing.T) {
	cat := startCat(t)
	lowest := func() int {
		fd, err := unix.Open(os.DevNull, unix.O_RDONLY, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer unix.Close(fd)
		return fd
	}
	before := lowest()
	for range 10 {
		_, err := Descendants(os.Getpid())
		if err = errors.Join(err, cat.Signal(unix.SIGCONT)); err != nil {
			t.Fatal(err)
		}
	}
	if after := lowest(); after != before {
		t.Errorf("the lowest free descriptor was %d and is %d", before, after)
	}
}

// asNobody calls f on a thread of an ordinary user, which ends with it.
func asNobody(t *testing.T, f func()) {
	t.Helper()
	if os.Geteuid() != 0 {
		nvmltest.Unavailable(t, "this test becomes another user: run as root")
	}
	const nobody = 65534
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // and never unlocks it
		_, _, errno := syscall.RawSyscall(unix.SYS_SETRESUID, nobody, nobody, nobody)
		if errno != 0 {
			done <- errno
			return
		}
		f()
		done <- nil
	}()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

// TestSignalIsNotPermitted checks that a signal that may not be sent is an error, and that a sweep
// by such a process ends, names what it could not kill, and names it once.
func TestSignalIsNotPermitted(t *testing.T) {
	cat := startCat(t)
	asNobody(t, func() {
		if err := cat.Signal(unix.SIGKILL); err != unix.EPERM {
			t.Errorf("%v, want EPERM", err)
		}
		atOnce := 0
		ended, left := Sweep{Reap: func() {}, AtOnce: func() { atOnce++ },
			Limit: 100 * time.Millisecond}.Run()
		if len(left) != 1 || left[0].PID != cat.PID {
			t.Errorf("left %v, want %s", left, cat)
		}
		if len(ended) > 1 {
			t.Errorf("one process was ended several times: %v", ended)
		}
		if atOnce < 2 {
			t.Errorf("all were killed at once %d times in several rounds", atOnce)
		}
	})
	if now, ok := Read(cat.PID); !ok || now.State != 'S' {
		t.Errorf("it is %+v, %v", now, ok)
	}
}

// TestSweepOfAZombie checks that a child that has ended but is not waited for counts as left, and
// not as one that the sweep has ended.
func TestSweepOfAZombie(t *testing.T) {
	zombie := startZombie(t)
	ended, left := Sweep{Reap: func() {}, Limit: 50 * time.Millisecond}.Run()
	if len(ended) != 0 || len(left) != 1 || left[0].PID != zombie.PID {
		t.Errorf("ended %v, left %v, want %s to be left", ended, left, zombie)
	}
}

func TestParseStatRefuses(t *testing.T) {
	rest := strings.Repeat(" 0", 24)
	if _, _, ok := parseStat([]byte("42 (sh) S" + rest)); !ok {
		t.Error("an ordinary line is refused")
	}
	for _, bad := range []string{"4(sh) S" + rest, "(sh) S" + rest, "42 (sh) SS" + rest,
		"42 (sh) S x" + rest, "42 (sh) S" + rest[:2*20]} {
		if d, _, ok := parseStat([]byte(bad)); ok {
			t.Errorf("%q gives %+v", bad, d)
		}
	}
	// A limit that exceeds an int64 is none of the fields that are needed.
	large := "42 (sh) S 7 9" + strings.Repeat(" 18446744073709551615", 22)
	if d, _, ok := parseStat([]byte(large)); !ok || d.Parent != 7 {
		t.Errorf("large numbers: %+v, %v", d, ok)
	}
}

func TestResourceHints(t *testing.T) {
	for err, want := range map[error]string{unix.EAGAIN: "ulimit -u", unix.EMFILE: "ulimit -n",
		unix.ENOMEM: "memory is short"} {
		got := WithResourceHint(fmt.Errorf("cannot fork: %w", err))
		if !strings.Contains(got.Error(), want) || !errors.Is(got, err) ||
			!strings.HasPrefix(got.Error(), "cannot fork: ") {
			t.Errorf("%v: %q, want %q", err, got, want)
		}
	}
	if got := WithResourceHint(io.EOF); got != io.EOF {
		t.Errorf("an error without a hint becomes %q", got)
	}
}

func TestRetryEINTR(t *testing.T) {
	calls := 0
	n, err := RetryEINTR(func() (int, error) {
		if calls++; calls < 3 {
			return 0, unix.EINTR
		}
		return 7, unix.EIO
	})
	if n != 7 || err != unix.EIO || calls != 3 {
		t.Errorf("%d, %v after %d calls", n, err, calls)
	}
}

func TestBecomeSubreaper(t *testing.T) {
	launchertest.EndSubreaper(t)
	if err := BecomeSubreaper(); err != nil {
		t.Error(err)
	}
	orphan := max(slices.Max(startTree(t, "leave", "stay")), 0)
	t.Cleanup(func() {
		_ = unix.Kill(orphan, unix.SIGKILL)
		_, _ = unix.Wait4(orphan, nil, 0, nil)
	})
	adopted := launchertest.Poll(func() bool {
		d, ok := Read(orphan)
		return ok && d.Parent == os.Getpid()
	})
	if !adopted {
		t.Error("the orphan has another parent")
	}
}

// TestOOMKills compares the count with the file that has it.
func TestOOMKills(t *testing.T) {
	data, err := os.ReadFile("/proc/vmstat")
	if err != nil {
		t.Fatal(err)
	}
	if got, want := OOMKills(), parseVMStat(string(data), "oom_kill"); got < want {
		t.Errorf("%d OOM kills, want at least %d", got, want)
	}
}
