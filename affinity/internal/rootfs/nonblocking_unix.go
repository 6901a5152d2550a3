//go:build unix

package rootfs

import "syscall"

// nonBlocking keeps an open from waiting for the other end of a pipe (open(2)), which a hostile
// folder may have in the place of a file.
const nonBlocking = syscall.O_NONBLOCK
