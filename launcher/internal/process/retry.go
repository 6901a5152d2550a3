package process

import "golang.org/x/sys/unix"

// RetryEINTR calls f, and calls it again for as long as a signal interrupts it.
func RetryEINTR(f func() (int, error)) (int, error) {
	for {
		if n, err := f(); err != unix.EINTR {
			return n, err
		}
	}
}
