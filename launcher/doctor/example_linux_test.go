package doctor_test

import (
	"fmt"
	"os"

	"github.com/gpulaunch/gpulaunch/gpu/probe"
	"github.com/gpulaunch/gpulaunch/launcher/doctor"
	"github.com/gpulaunch/gpulaunch/launcher/terminal"
)

// This program could run on each node of a cluster before jobs do. It prints what would stop a job
// or slow it down, and what to do about it.
func Example() {
	inventory := probe.Discover(probe.Options{})
	visible := inventory.Visible(os.LookupEnv("CUDA_VISIBLE_DEVICES"))
	results := doctor.Examine(doctor.Gather(doctor.Given{
		Environ: os.Environ(), Inventory: inventory, Visible: visible,
	}))
	style := terminal.StyleOf(os.Stdout, os.Getenv)
	for _, r := range results {
		if r.Status == doctor.Warn || r.Status == doctor.Fail {
			found := terminal.Sanitize(r.Found)
			fmt.Print(terminal.Hang(fmt.Sprintf("%s %s: ", r.Status, r.Check), found, style.Width))
			fmt.Print(terminal.Hang("  do: ", terminal.Sanitize(r.Remedy), style.Width))
		}
	}
	if !doctor.Ready(results) {
		os.Exit(1)
	}
}
