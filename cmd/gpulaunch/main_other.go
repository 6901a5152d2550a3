//go:build !linux

package main

import (
	"fmt"
	"runtime"

	"github.com/spf13/cobra"
)

// superviseJob has nothing to supervise.
func superviseJob() {}

// machineCommands are those that need the live machine, and with it Linux.
func machineCommands() (list []*cobra.Command) {
	for _, c := range []struct{ name, short string }{
		{"run", "Run a program once per GPU, or on CPUs if there is none"},
		{"capture", "Write what planning needs from this machine to an archive"},
		{"devices", "List the machine's GPUs, their health and who uses them"},
		{"doctor", "Check whether a job would start well, and say what to do"},
	} {
		list = append(list, &cobra.Command{
			Use: c.name, Short: c.short + " (on Linux)",
			DisableFlagParsing: true,
			RunE: func(*cobra.Command, []string) error {
				return fmt.Errorf("gpulaunch %s needs Linux, and this is %s; gpulaunch plan "+
					"--from FILE works here", c.name, runtime.GOOS)
			},
		})
	}
	return list
}
