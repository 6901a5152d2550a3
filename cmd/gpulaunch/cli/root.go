package cli

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// NewRoot makes the command gpulaunch without any subcommand.
func NewRoot() *cobra.Command {
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
