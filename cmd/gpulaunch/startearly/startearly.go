//go:build linux

// Package startearly does what each of the launcher's two processes does first: the keeper
// starts the supervisor, and the supervisor subscribes to signals.
//
// Go initialises packages in the order of their paths, as far as their imports allow. This
// one imports little, so it comes before all that parses flags, opens libraries and serves
// metrics; TestInitialisedFirst lists what comes before it. The rest is initialised while
// the supervisor starts, or while the signals are subscribed to.
package startearly

import (
	"os"

	"github.com/gpulaunch/gpulaunch/launcher/keeper/early"
)

var (
	// Supervisor is this process's supervisor, nil if this process is no keeper.
	Supervisor *early.Supervisor
	// Signals are those of a supervisor, nil if this process is none.
	Signals *early.Signals
)

func init() {
	if len(os.Args) > 1 && os.Args[1] == "run" {
		// During initialisation the main goroutine is locked to the main thread.
		Supervisor = early.Begin(os.Args[2:])
	}
	if c, ok := early.ParseCommand(os.Args); ok {
		if c.Place == early.Entering {
			early.Enter(c)
		}
		Signals = early.Subscribe()
	}
}
