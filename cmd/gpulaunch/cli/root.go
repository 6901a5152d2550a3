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
		Short: "Run one pinned, supervised worker process per GPU",
		Long: `gpulaunch starts one worker process per GPU of this machine. It binds each
worker to its GPU and to the CPUs next to that GPU, supervises all workers, and
serves metrics for Prometheus. On a machine without a GPU the same command runs
CPU-only workers.`,
		Example: `  gpulaunch run train.py --epochs 3
  gpulaunch run --nproc-per-node=2 -- ./serve --port 8000
  gpulaunch plan train.py
  gpulaunch devices
  gpulaunch doctor`,
		SilenceErrors: true, SilenceUsage: true,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 0 {
				return fmt.Errorf("there is no subcommand %q; to run a program use "+
					"gpulaunch run %s", args[0], args[0])
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
		return fmt.Errorf("--%s: %w; see %s --help", bad.GetFlag().Name, cause(err),
			c.CommandPath())
	}
	return fmt.Errorf("%w; see %s --help", err, c.CommandPath())
}

// dashes lets --nproc_per_node stand for --nproc-per-node, as torchrun does.
func dashes(_ *pflag.FlagSet, name string) pflag.NormalizedName {
	return pflag.NormalizedName(strings.ReplaceAll(name, "_", "-"))
}
