//go:build linux

package main

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/gpulaunch/gpulaunch/launcher"
	"github.com/gpulaunch/gpulaunch/launcher/supervisor"
	"github.com/gpulaunch/gpulaunch/launcher/terminal"
)

// failed is the exit code of a launcher that could not do its work, after
// coreutils' timeout and nohup.
const failed = 125

// exitError carries an exit code other than failed. An empty text means that
// all has been said.
type exitError struct {
	code int
	err  error
}

func (e *exitError) Error() string {
	if e.err == nil {
		return ""
	}
	return e.err.Error()
}

func (e *exitError) Unwrap() error { return e.err }

// supervise is the second process of run.
func supervise(fd string, args []string) int {
	sup, err := supervisor.Connect(fd)
	if err != nil {
		return complain(err)
	}
	code := execute(append([]string{"run"}, args...), sup)
	sup.Exit(code)
	return code
}

// execute runs a subcommand. sup is for run.
func execute(args []string, sup *supervisor.Supervisor) int {
	root := newRoot(sup)
	root.SetArgs(args)
	return complain(root.Execute())
}

// complain prints an error as one line and gives the exit code for it.
func complain(err error) int {
	if err == nil {
		return 0
	}
	if text := terminal.OneLine(err.Error()); text != "" {
		fmt.Fprintf(os.Stderr, "gpulaunch: %s\n", text)
	}
	return exitCode(err)
}

// exitCode is what the process exits with after an error.
func exitCode(err error) int {
	if err == nil {
		return 0
	}
	var e *exitError
	if errors.As(err, &e) {
		return e.code
	}
	var start *launcher.StartError
	if errors.As(err, &start) {
		return start.ExitCode()
	}
	return failed
}

func oneLine(s string) string {
	return strings.Join(strings.Fields(strings.ReplaceAll(s, "\n", " ")), " ")
}

func newRoot(sup *supervisor.Supervisor) *cobra.Command {
	root := &cobra.Command{
		Use:   "gpulaunch",
		Short: "One pinned, supervised, observable worker process per GPU",
		Long: `gpulaunch starts one worker process per GPU of this machine, pins each to its
device and to the CPUs beside it, supervises them all and tells Prometheus about
it. On a machine without a GPU the same command runs CPU-only workers.`,
		Example: `  gpulaunch run train.py --epochs 3       one worker per GPU
  gpulaunch run --nproc-per-node=2 -- ./serve --port 8000
  gpulaunch plan train.py                 what run would do
  gpulaunch devices                       the GPUs, their health and who uses them
  gpulaunch doctor                        whether a job would start well`,
		SilenceErrors: true, SilenceUsage: true,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 0 {
				return fmt.Errorf("there is no subcommand %q; to run a program use gpulaunch run %s", args[0], args[0])
			}
			return nil
		},
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	root.SetGlobalNormalizationFunc(dashes)
	root.SetFlagErrorFunc(flagError)
	root.AddCommand(newRun(sup), newPlan(), newCapture(), newDevices(), newDoctor(), newVersion(), newProbe())
	root.AddCommand(helpTopics()...)
	return root
}

// flagError says what is wrong with a flag and where to read about it.
func flagError(c *cobra.Command, err error) error {
	var bad *pflag.InvalidValueError
	if errors.As(err, &bad) {
		return fmt.Errorf("--%s: %w; see %s --help", bad.GetFlag().Name, cause(err), c.CommandPath())
	}
	return fmt.Errorf("%w; see %s --help", err, c.CommandPath())
}

// dashes lets --nproc_per_node stand for --nproc-per-node, as torchrun does.
func dashes(_ *pflag.FlagSet, name string) pflag.NormalizedName {
	return pflag.NormalizedName(strings.ReplaceAll(name, "_", "-"))
}
