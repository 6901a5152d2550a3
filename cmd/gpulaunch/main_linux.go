package main

import (
	"net"
	"runtime"
	"time"

	"github.com/spf13/cobra"

	"github.com/gpulaunch/gpulaunch/cmd/gpulaunch/cli"
	"github.com/gpulaunch/gpulaunch/cmd/gpulaunch/run"
	"github.com/gpulaunch/gpulaunch/cmd/gpulaunch/startjob"
	"github.com/gpulaunch/gpulaunch/gpu"
	"github.com/gpulaunch/gpulaunch/launcher"
	"github.com/gpulaunch/gpulaunch/metrics"

	// run comes as far as main only in its second process.
	_ "github.com/gpulaunch/gpulaunch/cmd/gpulaunch/startkeeper"
)

// superviseJob serves the metrics of this process's job, if it has one, and then does not
// return: the job ends the process.
func superviseJob() {
	if startjob.Job != nil {
		startjob.Job.Attach(serveMetrics)
		select {}
	}
}

// serveMetrics serves what a job's events tell.
func serveMetrics(l net.Listener, started time.Time,
	inv gpu.Inventory) (observe func(launcher.Event), stop func()) {
	build := metrics.Build{Version: cli.Version(), GoVersion: runtime.Version()}
	recorder := metrics.NewRecorder(build, started, inv)
	return recorder.Observe, metrics.Serve(l, recorder).Close
}

// machineCommands are those that need the live machine.
func machineCommands() []*cobra.Command {
	return []*cobra.Command{
		run.NewCommand(nil), newCapture(), newDevices(), newDoctor(), run.NewProbeCommand(),
	}
}
