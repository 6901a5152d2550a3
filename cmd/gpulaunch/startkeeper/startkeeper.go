//go:build linux

// Package startkeeper turns this process into the keeper, if it is to be one, before the
// rest of the program is initialised.
//
// Go initialises packages in the order of their paths, as far as their imports allow. This
// package comes before everything that parses flags and serves metrics, so the keeper starts
// the supervisor, which has to initialise that, the sooner; TestKeeperComesFirst lists what
// is initialised before it. An init that never returns is unusual, but nothing in it depends
// on what has not been initialised, and the keeper has no use for the rest.
package startkeeper

import (
	"os"

	"github.com/gpulaunch/gpulaunch/launcher/keeper"
)

func init() {
	// During initialisation the main goroutine is locked to the main thread, as the keeper
	// wants it.
	if len(os.Args) > 1 && os.Args[1] == "run" {
		os.Exit(keeper.Keep(os.Args[2:]))
	}
}
