//go:build linux

// Package startjob begins the job, if this process is its supervisor, before the rest of the
// program is initialised.
//
// What serves metrics takes longer to be initialised than a worker to start. So the job runs
// in a goroutine from here on, the rest of the program is initialised when it has started
// its workers, and main then attaches metrics to it. What package run imports is initialised
// before this package; the Go specification permits an init function to start goroutines
// that run concurrently with the rest of initialisation.
package startjob

import (
	"os"

	"github.com/gpulaunch/gpulaunch/cmd/gpulaunch/run"
	"github.com/gpulaunch/gpulaunch/cmd/gpulaunch/startearly"
	"github.com/gpulaunch/gpulaunch/launcher/keeper/early"
)

// Job is the job of this process, nil if this is not a supervisor.
var Job *run.Job

func init() {
	if command, ok := early.ParseCommand(os.Args); ok {
		Job = run.Begin(command, startearly.Signals)
		Job.AwaitLaunch()
	}
}
