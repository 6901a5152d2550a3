//go:build linux

// Command gpulaunch starts one pinned, supervised worker process per GPU.
package main

import (
	"os"

	// run does not come as far as main, but for its second process.
	_ "github.com/gpulaunch/gpulaunch/cmd/gpulaunch/first"
)

func main() { os.Exit(start(os.Args[1:])) }

// start sorts out which of the processes this is, see package launcher.
func start(args []string) int {
	if len(args) > 1 && args[0] == "supervise" {
		return supervise(args[1], args[2:])
	}
	return execute(args, nil)
}
