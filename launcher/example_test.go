package launcher_test

import (
	"context"
	"log"
	"os"
	"os/signal"

	"golang.org/x/sys/unix"

	"github.com/gpulaunch/gpulaunch/gpu/probe"
	"github.com/gpulaunch/gpulaunch/launcher"
	"github.com/gpulaunch/gpulaunch/launcher/machine"
	"github.com/gpulaunch/gpulaunch/launcher/plan"
	"github.com/gpulaunch/gpulaunch/launcher/terminal"
)

// This program trains with one worker per GPU or, on a machine without GPUs, per NUMA node. It
// starts a failed training three more times, passes the end of the program on to the workers, and
// says at the end which worker was the first to fail.
func Example() {
	ctx, cancel := signal.NotifyContext(context.Background(), unix.SIGINT, unix.SIGTERM)
	defer cancel()

	inventory := probe.Discover(probe.Options{})
	visible := inventory.Visible(os.LookupEnv("CUDA_VISIBLE_DEVICES"))
	options := plan.Options{
		MaxRestarts: 3, Health: plan.HealthSkip, Busy: plan.BusySkip, Environ: os.Environ(),
	}
	here, err := machine.Read("", inventory, visible, options)
	if err != nil {
		log.Fatal(err)
	}
	job, err := plan.New(here, options)
	if err != nil {
		log.Fatal(err)
	}
	for _, warning := range job.Warnings {
		log.Print("warning: ", warning)
	}

	argv, err := launcher.Command{Args: append([]string{"train.py"}, os.Args[1:]...)}.Resolve()
	if err != nil {
		log.Fatal(err)
	}
	result := launcher.Run(ctx, job, launcher.Config{
		Argv: argv, Inventory: inventory, Log: func(line string) { log.Print(line) },
	})
	for _, line := range result.Summary() {
		log.Print(line)
	}
	if err := result.Table(os.Stderr, terminal.StyleOf(os.Stderr, os.Getenv)); err != nil {
		log.Print(err)
	}
	os.Exit(result.ExitCode)
}
