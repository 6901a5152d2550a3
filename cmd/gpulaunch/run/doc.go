//go:build linux

// Package run is gpulaunch run, from its flags to its exit code.
//
// [NewCommand] makes the subcommand with its flags and help. The job itself runs in the
// supervisor, the second process of the command: package startjob calls [Begin] there as
// early as it can, while the rest of the program is still being initialised, and main calls
// [Job.Attach] with what serves metrics, once that has been.
//
// # Goroutines
//
// One runs the job and ends the process. The console has one that prints the launcher's own
// lines. Planning has one that asks about the GPUs, which is left to itself when the user
// does not want to wait for it. Another reads the machine from the very beginning. One waits
// for metrics to be attached, and a timer starts one that looks for what earlier jobs have left.
package run
