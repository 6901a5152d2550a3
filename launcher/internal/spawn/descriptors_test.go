package spawn

import (
	"math"
	"os"
	"slices"
	"testing"

	"golang.org/x/sys/unix"
)

func TestNamedDescriptors(t *testing.T) {
	for _, c := range []struct {
		argv []string
		want []int
	}{
		{[]string{"/bin/cat", "/dev/fd/63", "--config=/proc/self/fd/7"}, []int{7, 63}},
		{[]string{"/dev/fd/5"}, []int{5}},
		{[]string{"sh", "-c", "cat /dev/fd/4 /dev/fd/4 - </dev/fd/12"}, []int{4, 12}},
		{[]string{"file:///dev/fd/9"}, []int{9}},
		{[]string{"/dev/fd/99999999999999999999", "/dev/fd/", "/dev/fd/x"}, nil},
		{[]string{"/dev/stdin", "/proc/1/fd/3", "/dev/fdx/3", "3"}, nil},
	} {
		if got := NamedDescriptors(c.argv); !slices.Equal(got, c.want) {
			t.Errorf("NamedDescriptors(%q) = %v, want %v", c.argv, got, c.want)
		}
	}
}

// inheritable opens files that are not marked as close-on-exec, until the test ends.
func inheritable(t *testing.T, n int) (list []int) {
	t.Helper()
	for range n {
		fd, err := unix.Open(os.DevNull, unix.O_RDONLY, 0)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { unix.Close(fd) })
		list = append(list, fd)
	}
	return list
}

// marked returns which of the descriptors are marked as close-on-exec.
func marked(t *testing.T, list []int) (m []bool) {
	t.Helper()
	for _, fd := range list {
		flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0)
		if err != nil {
			t.Fatal(err)
		}
		m = append(m, flags&unix.FD_CLOEXEC != 0)
	}
	return m
}

func TestKeepDescriptors(t *testing.T) {
	fds := inheritable(t, 5)
	slices.Sort(fds)
	standard := marked(t, []int{0, 1, 2})
	if err := KeepDescriptors([]int{0, fds[1], fds[3], 1 << 20}); err != nil {
		t.Fatal(err)
	}
	want := []bool{true, false, true, false, true}
	if got := marked(t, fds); !slices.Equal(got, want) {
		t.Errorf("the marks are %v, want %v", got, want)
	}
	if got := marked(t, []int{0, 1, 2}); !slices.Equal(got, standard) {
		t.Errorf("the marks of the standard files are %v, want %v as before", got, standard)
	}
}

// TestCloseEachOnExec tests what is done where close_range(2) is refused.
func TestCloseEachOnExec(t *testing.T) {
	fds := inheritable(t, 3)
	slices.Sort(fds)
	if err := closeEachOnExec(fds[1], fds[1]); err != nil {
		t.Fatal(err)
	}
	if got, want := marked(t, fds), []bool{false, true, false}; !slices.Equal(got, want) {
		t.Errorf("the marks are %v, want %v", got, want)
	}
	if err := closeEachOnExec(firstInherited, math.MaxInt32); err != nil {
		t.Fatal(err)
	}
	if got, want := marked(t, fds), []bool{true, true, true}; !slices.Equal(got, want) {
		t.Errorf("the marks are %v, want %v", got, want)
	}
}
