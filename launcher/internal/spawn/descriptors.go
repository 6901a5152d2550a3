package spawn

import (
	"errors"
	"fmt"
	"math"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

// firstInherited is the first descriptor that is not one of the standard files.
const firstInherited = 3

// descriptorPath is how an argument names a descriptor. Shells name those of a process substitution
// in this way. It is compiled only if it is needed, because it would delay the first worker.
var descriptorPath = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`/(?:dev|proc/self)/fd/([0-9]+)`)
})

// NamedDescriptors returns the descriptors that arguments name as /dev/fd/N or /proc/self/fd/N, in
// order. The path may be a part of the argument, as in --config=/dev/fd/63.
func NamedDescriptors(argv []string) (list []int) {
	for _, arg := range argv {
		if !strings.Contains(arg, "/fd/") {
			continue
		}
		for _, m := range descriptorPath().FindAllStringSubmatch(arg, -1) {
			if n, err := strconv.ParseInt(m[1], 10, 32); err == nil {
				list = append(list, int(n))
			}
		}
	}
	slices.Sort(list)
	return slices.Compact(list)
}

// KeepDescriptors makes sure that no process that this one starts inherits a descriptor above 2,
// unless it is passed on purpose or is one of passed, which must be in order. Go marks what it
// opens itself as close-on-exec; KeepDescriptors does so with what this process has inherited.
func KeepDescriptors(passed []int) error {
	first := firstInherited
	for _, fd := range passed {
		if fd > first {
			if err := closeOnExec(first, fd-1); err != nil {
				return err
			}
		}
		first = max(first, fd+1)
	}
	return closeOnExec(first, math.MaxInt32)
}

// closeOnExec marks the descriptors from first to last. close_range(2) does so in one call since
// Linux 5.11; older kernels and some seccomp filters refuse it.
func closeOnExec(first, last int) error {
	if unix.CloseRange(uint(first), uint(last), unix.CLOSE_RANGE_CLOEXEC) == nil {
		return nil
	}
	return closeEachOnExec(first, last)
}

// closeEachOnExec does what closeOnExec does with the descriptors that /proc lists.
func closeEachOnExec(first, last int) error {
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return fmt.Errorf("cannot list the descriptors of this process: %w", err)
	}
	for _, e := range entries {
		fd, err := strconv.Atoi(e.Name())
		if err != nil || fd < first || fd > last {
			continue
		}
		_, err = unix.FcntlInt(uintptr(fd), unix.F_SETFD, unix.FD_CLOEXEC)
		if err != nil && !errors.Is(err, unix.EBADF) { // the one that the list was read with
			return fmt.Errorf("cannot mark descriptor %d as close-on-exec: %w", fd, err)
		}
	}
	return nil
}
