package process

import (
	"errors"

	"golang.org/x/sys/unix"
)

// ResourceHint says which limit is likely meant by fork's or pipe's error.
func ResourceHint(err error) string {
	switch {
	case errors.Is(err, unix.EAGAIN):
		return "; the limit on processes is reached: see ulimit -u and the cgroup's pids.max"
	case errors.Is(err, unix.EMFILE):
		return "; the limit on open files is reached: see ulimit -n"
	case errors.Is(err, unix.ENOMEM):
		return "; memory is short"
	}
	return ""
}
