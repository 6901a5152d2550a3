//go:build linux

// Package first turns this process into the keeper, if it is to be one, before
// the rest of the program is initialised.
//
// Go initialises packages in the order of their paths, as far as their imports
// allow. This one comes before everything that serves metrics and parses flags, so
// the supervisor, which has to initialise all of that, starts the sooner:
// BenchmarkKeeper shows by how much. An init that never returns is an odd thing;
// nothing in it depends on what has not been initialised, and the keeper has no use
// for the rest.
package first

import (
	"os"

	"github.com/gpulaunch/gpulaunch/launcher/keeper"
)

func init() {
	// During initialisation the main goroutine is locked to the main thread, as the
	// keeper wants it.
	if len(os.Args) > 1 && os.Args[1] == "run" {
		os.Exit(keeper.Keep(os.Args[2:]))
	}
}
