// Command gpulaunch starts one pinned, supervised worker process per GPU.
package main

import (
	"os"

	"github.com/spf13/cobra"

	"github.com/gpulaunch/gpulaunch/cmd/gpulaunch/cli"
)

func main() {
	superviseJob()
	os.Exit(cli.Complain(newRoot().Execute()))
}

// newRoot makes the command with all its subcommands and help topics.
func newRoot() *cobra.Command {
	root := cli.NewRoot()
	root.AddCommand(newPlan(), newVersion())
	root.AddCommand(machineCommands()...)
	root.AddCommand(helpTopics()...)
	return root
}
