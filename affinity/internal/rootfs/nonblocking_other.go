//go:build !unix

package rootfs

// nonBlocking is nothing: no folder has pipes in it on these systems.
const nonBlocking = 0
