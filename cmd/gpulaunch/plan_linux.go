package main

import (
	"context"

	"github.com/gpulaunch/gpulaunch/cmd/gpulaunch/cli"
	"github.com/gpulaunch/gpulaunch/cmd/gpulaunch/run"
	"github.com/gpulaunch/gpulaunch/launcher/machine"
	"github.com/gpulaunch/gpulaunch/launcher/plan"
)

// liveMachine reads this machine.
func liveMachine(f *cli.PlanFlags) (plan.Machine, error) {
	client, closeClient := run.NewClient(f.Library)
	defer closeClient()
	return run.ReadMachine(context.Background(), machine.Begin(""), client, f)
}

// resolve looks for a program as run would.
func resolve(f *cli.PlanFlags, args []string) ([]string, error) { return run.Resolve(f, args) }
