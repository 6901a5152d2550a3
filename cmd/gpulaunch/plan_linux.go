package main

import (
	"context"
	"os"

	"github.com/spf13/pflag"

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

// unknownVariables returns warnings about variables that stand for no flag, of plan or of run.
func unknownVariables(fs *pflag.FlagSet) []string {
	return cli.UnknownVariables(os.Environ(), fs, run.NewCommand(nil).Flags())
}
