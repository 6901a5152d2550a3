package process

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// ResourceHint says which limit is likely meant by an error of fork or pipe, and where to
// look; "" for other errors.
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

// WithResourceHint adds that hint to an error's text, if there is one.
func WithResourceHint(err error) error {
	if hint := ResourceHint(err); hint != "" {
		return fmt.Errorf("%w; %s", err, hint)
	}
	return err
}
