package process

import "golang.org/x/sys/unix"

// RetryEINTR calls f again when a signal interrupted it.
func RetryEINTR(f func() (int, error)) (int, error) {
	for {
		if n, err := f(); err != unix.EINTR {
			return n, err
		}
	}
}
