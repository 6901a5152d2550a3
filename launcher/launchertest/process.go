//go:build linux

package launchertest

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/gpulaunch/gpulaunch/affinity"
	"github.com/gpulaunch/gpulaunch/launcher/internal/link"
)

// Gone waits until processes have ended. A process that has ended but has not been waited for
// counts as ended, too, because its pidfd is readable (pidfd_open(2)).
func Gone(t testing.TB, pids ...string) {
	t.Helper()
	deadline := time.Now().Add(Patience)
	for _, text := range pids {
		pid, err := strconv.Atoi(text)
		if err != nil {
			t.Fatal(err)
		}
		fd, err := unix.PidfdOpen(pid, 0)
		if errors.Is(err, unix.ESRCH) {
			continue
		}
		if err != nil {
			t.Fatalf("cannot watch process %d: %v", pid, err)
		}
		n, err := 0, error(unix.EINTR)
		for err == unix.EINTR {
			left := int(time.Until(deadline).Milliseconds())
			n, err = unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, max(left, 0))
		}
		if n == 0 || err != nil {
			t.Errorf("process %d has not ended within %s (%v)", pid, Patience, err)
		}
		unix.Close(fd)
	}
}

// Poll calls condition every millisecond until it returns true, and reports whether it did so
// within [Patience]. Use it for changes that cannot be waited for in another way.
func Poll(condition func() bool) bool {
	err := Retry(Patience, time.Millisecond, func() error {
		if condition() {
			return nil
		}
		return errNotYet
	})
	return err == nil
}

var errNotYet = errors.New("the condition is not true yet")

// Retry calls check, with pauses in between, until it returns nil or limit is over, and returns its
// last error.
func Retry(limit, pause time.Duration, check func() error) error {
	deadline := time.Now().Add(limit)
	for {
		err := check()
		if err == nil || time.Now().After(deadline) {
			return err
		}
		<-time.After(pause)
	}
}

// Stat returns the fields of /proc/PID/stat from the third one on, which is the state: field n of
// proc_pid_stat(5) has the index n-3. It returns nil if there is no such process.
func Stat(pid int) []string {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return nil
	}
	// The second field is the name in parentheses. A name may contain spaces and parentheses.
	return strings.Fields(string(data[strings.LastIndexByte(string(data), ')')+1:]))
}

// Children returns the pids of a process's children, whichever of its threads started them
// (proc_tid_children(5)). It returns nil if there is no such process.
func Children(pid int) (list []int) {
	threads, _ := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid))
	for _, thread := range threads {
		data, _ := os.ReadFile(fmt.Sprintf("/proc/%d/task/%s/children", pid, thread.Name()))
		for _, text := range strings.Fields(string(data)) {
			child, _ := strconv.Atoi(text)
			list = append(list, child)
		}
	}
	return list
}

// AllowedCPUs returns the CPUs that this process may use.
func AllowedCPUs(t testing.TB) affinity.CPUSet {
	t.Helper()
	set, err := affinity.Current(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	return set
}

// BecomeSubreaper makes this process a child subreaper until the test ends.
func BecomeSubreaper(t testing.TB) {
	t.Helper()
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		t.Fatal(err)
	}
	EndSubreaper(t)
}

// EndSubreaper makes this process an ordinary process again when the test ends, if it has become
// a child subreaper by then.
func EndSubreaper(t testing.TB) {
	t.Helper()
	t.Cleanup(func() {
		if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0); err != nil {
			t.Errorf("this process is still a child subreaper: %v", err)
		}
	})
}

// ListeningLink returns what Link returns, after the keeper has said that it listens.
func ListeningLink(t testing.TB) (keeper, supervisor *os.File) {
	t.Helper()
	keeper, supervisor = Link(t)
	if _, err := keeper.Write([]byte{link.Listening}); err != nil {
		t.Fatal(err)
	}
	return keeper, supervisor
}

// Link returns both ends of a link between a keeper and a supervisor, for a test that plays the
// keeper. They are closed when the test ends.
func Link(t testing.TB) (keeper, supervisor *os.File) {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	keeper = os.NewFile(uintptr(fds[0]), "keeper")
	supervisor = os.NewFile(uintptr(fds[1]), "supervisor")
	t.Cleanup(func() {
		keeper.Close()
		supervisor.Close()
	})
	return keeper, supervisor
}
