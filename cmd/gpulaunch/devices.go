//go:build linux

package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/gpulaunch/gpulaunch/affinity"
	"github.com/gpulaunch/gpulaunch/cmd/gpulaunch/cli"
	"github.com/gpulaunch/gpulaunch/cmd/gpulaunch/run"
	"github.com/gpulaunch/gpulaunch/gpu"
	"github.com/gpulaunch/gpulaunch/gpu/probe"
	"github.com/gpulaunch/gpulaunch/launcher/plan"
	"github.com/gpulaunch/gpulaunch/launcher/terminal"
)

func newDevices() *cobra.Command {
	f := &cli.GPUFlags{}
	var asJSON, wide bool
	c := &cobra.Command{
		Use:   "devices",
		Short: "List the machine's GPUs, their health and who uses them",
		Long: `Devices lists all GPUs of the machine in PCI order, even those that the
inherited CUDA_VISIBLE_DEVICES hides. It says where the list comes from: NVML,
the driver's files, or nowhere. Below each GPU it shows what is wrong with it
and what to do, the processes that compute on it, and its MIG instances.

Names, UUIDs and PCI addresses are shortened as far as they can still be told
apart. Use --wide or --json to see them in full.`,
		Example: `  gpulaunch devices
  gpulaunch devices --json | jq -r '.devices[].uuid'`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if err := cli.FromEnvironment(c.Flags()); err != nil {
				return err
			}
			client, closeClient := run.NewClient(f.Library)
			defer closeClient()
			inv := run.Discover(context.Background(), client, *f)
			if err := plan.CheckLibrary(inv); err != nil {
				return err
			}
			if asJSON {
				return printJSON(c.OutOrStdout(), inv)
			}
			t := deviceTable{inv: inv, wide: wide, style: terminal.StyleOf(os.Stdout, os.Getenv)}
			t.used = memoryInUse(client, inv, f.Timeout)
			t.topology, _ = affinity.ReadTopology("") // without it, NUMA nodes may be missing
			return printDevices(c.OutOrStdout(), t)
		},
	}
	f.RegisterGPU(c.Flags())
	c.Flags().BoolVar(&asJSON, "json", false, "print the list as JSON")
	c.Flags().BoolVar(&wide, "wide", false, "print names, UUIDs and PCI addresses in full")
	return c
}

func printDevices(w io.Writer, t deviceTable) error {
	inv := t.inv
	fmt.Fprintf(w, "source  %s (%s)\n", inv.Source, terminal.Sanitize(inv.Reason))
	if inv.DriverVersion != "" {
		fmt.Fprintf(w, "driver  %s\n", terminal.Sanitize(inv.DriverVersion))
	}
	if v := run.Visible(inv); v.Set && len(inv.Devices) > 0 {
		fmt.Fprintf(w, "visible %d of them, by CUDA_VISIBLE_DEVICES=%q\n", len(v.Units), v.Value)
	}
	if len(inv.Devices) == 0 {
		return nil
	}
	_, err := fmt.Fprint(w, "\n", t.String())
	return err
}

// memoryInUse returns the bytes in use of each GPU and MIG instance by UUID, as far as NVML reports
// them.
func memoryInUse(c *probe.Client, inv gpu.Inventory, limit cli.Seconds) map[string]uint64 {
	used := map[string]uint64{}
	if inv.Source != gpu.SourceNVML {
		return used
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Duration(limit))
	defer cancel()
	sample, err := c.Sample(ctx)
	if err != nil {
		return used // the list can be printed without them
	}
	for _, d := range sample.Devices {
		if d.MemoryUsedBytes != nil && d.UUID != "" {
			used[d.UUID] = *d.MemoryUsedBytes
		}
	}
	return used
}
