package process

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// ResourceHint returns which limit is probably the cause of an error from fork or pipe, and where
// to look, or "" for other errors.
func ResourceHint(err error) string {
	switch {
	case errors.Is(err, unix.EAGAIN):
		return "the limit on processes is reached: see ulimit -u and the cgroup's pids.max"
	case errors.Is(err, unix.EMFILE):
		return "the limit on open files is reached: see ulimit -n"
	case errors.Is(err, unix.ENOMEM):
		return "memory is short"
	}
	return ""
}

// WithResourceHint adds the hint for err to its text, if there is one.
func WithResourceHint(err error) error {
	if hint := ResourceHint(err); hint != "" {
		return fmt.Errorf("%w; %s", err, hint)
	}
	return err
}
