package main

import (
	"fmt"
	"runtime"

	"github.com/spf13/cobra"

	"github.com/gpulaunch/gpulaunch/cmd/gpulaunch/cli"
)

func newVersion() *cobra.Command {
	return &cobra.Command{
		Use: "version", Short: "Print the version", Args: cobra.NoArgs,
		Example: "  gpulaunch version",
		Run: func(c *cobra.Command, _ []string) {
			fmt.Fprintf(c.OutOrStdout(), "gpulaunch %s (%s, %s/%s, %s)\n", cli.Version(),
				runtime.Version(), runtime.GOOS, runtime.GOARCH, gpuSupport)
		},
	}
}
