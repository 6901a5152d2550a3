//go:build !linux

package main

import (
	"fmt"
	"runtime"

	"github.com/spf13/pflag"

	"github.com/gpulaunch/gpulaunch/cmd/gpulaunch/cli"
	"github.com/gpulaunch/gpulaunch/launcher/plan"
)

// liveMachine cannot be read here.
func liveMachine(*cli.PlanFlags) (plan.Machine, error) {
	return plan.Machine{},
		fmt.Errorf("planning for this machine needs Linux, and this is %s: name another machine "+
			"with --from FILE", runtime.GOOS)
}

// resolve cannot look for a program that would run on another machine.
func resolve(_ *cli.PlanFlags, args []string) ([]string, error) {
	return nil, fmt.Errorf("whether %q can be run is known on Linux only: leave it out", args[0])
}

// unknownVariables returns nothing, because the flags of run exist on Linux only.
func unknownVariables(*pflag.FlagSet) []string { return nil }
