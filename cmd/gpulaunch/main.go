//go:build linux

// Command gpulaunch starts one pinned, supervised worker process per GPU.
package main

import (
	"os"
	"runtime"

	"github.com/gpulaunch/gpulaunch/launcher"
)

// The main goroutine keeps the main thread: the keeper's child is tied to the
// thread that started it, and the supervisor's workers must not be.
func init() { runtime.LockOSThread() }

func main() { os.Exit(start(os.Args[1:])) }

// start sorts out which of the processes this is, see package launcher.
func start(args []string) int {
	switch {
	case len(args) > 0 && args[0] == "run":
		return launcher.Keep(args[1:])
	case len(args) > 1 && args[0] == "supervise":
		return supervise(args[1], args[2:])
	}
	return execute(args, nil)
}
