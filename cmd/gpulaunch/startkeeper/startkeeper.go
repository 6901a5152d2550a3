//go:build linux

// Package startkeeper makes this process the keeper, if package startearly has started
// a supervisor, before the rest of the program is initialised: the keeper has no use for it.
//
// An init that never returns is unusual, but nothing in the keeper depends on what has not
// been initialised.
package startkeeper

import (
	"os"

	"github.com/gpulaunch/gpulaunch/cmd/gpulaunch/startearly"
	"github.com/gpulaunch/gpulaunch/launcher/keeper"
)

func init() {
	if startearly.Supervisor == nil {
		return
	}
	k := keeper.New(startearly.Supervisor)
	// During initialisation the main goroutine is locked to the main thread. Another one
	// does not make the kernel switch threads whenever it waits.
	go func() { os.Exit(k.Run()) }()
	k.ServeMain()
}
