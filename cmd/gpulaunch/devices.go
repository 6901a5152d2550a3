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
	"github.com/gpulaunch/gpulaunch/gpu"
	"github.com/gpulaunch/gpulaunch/gpu/probe"
	"github.com/gpulaunch/gpulaunch/launcher/report"
)

func newDevices() *cobra.Command {
	f := &jobFlags{}
	var asJSON, wide bool
	c := &cobra.Command{
		Use:   "devices",
		Short: "List the machine's GPUs, who uses them and how they are",
		Long: `Devices lists all GPUs of the machine in PCI order, whether or not the inherited
CUDA_VISIBLE_DEVICES admits them, and says where the list comes from: NVML, the
driver's files, or nowhere. Below a GPU stand its MIG instances, the processes that
compute on it, and what is wrong with it and what to do.

Names, UUIDs and PCI addresses are shortened to what tells them apart; --wide and
--json have them in full.`,
		Example: `  gpulaunch devices
  gpulaunch devices --json | jq -r '.devices[].uuid'`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if err := environment(c.Flags()); err != nil {
				return err
			}
			client, closeClient := newClient(f.library)
			defer closeClient()
			inv := discover(context.Background(), client, f.library, f.gpuTimeout)
			if asJSON {
				return printJSON(c.OutOrStdout(), inv)
			}
			t := deviceTable{inv: inv, wide: wide, style: report.StyleOf(os.Stdout, os.Getenv)}
			t.used = memoryInUse(client, inv, f.gpuTimeout)
			t.topology, _ = affinity.ReadTopology("") // without it there are no NUMA nodes to show
			return printDevices(c.OutOrStdout(), t)
		},
	}
	f.registerGPU(c.Flags())
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON for programs")
	c.Flags().BoolVar(&wide, "wide", false, "shorten nothing")
	return c
}

func printDevices(w io.Writer, t deviceTable) error {
	inv := t.inv
	fmt.Fprintf(w, "source  %s (%s)\n", inv.Source, escaped(inv.Reason))
	if inv.DriverVersion != "" {
		fmt.Fprintf(w, "driver  %s\n", escaped(inv.DriverVersion))
	}
	if v := visible(inv); v.Set && len(inv.Devices) > 0 {
		fmt.Fprintf(w, "visible %d of them, by CUDA_VISIBLE_DEVICES=%q\n", len(v.Units), v.Value)
	}
	if len(inv.Devices) == 0 {
		return nil
	}
	_, err := fmt.Fprint(w, "\n", t.String())
	return err
}

// memoryInUse asks for the bytes in use of each GPU and MIG instance, by UUID. What nobody tells is not in it.
func memoryInUse(c *probe.Client, inv gpu.Inventory, limit seconds) map[string]uint64 {
	used := map[string]uint64{}
	if inv.Source != gpu.SourceNVML {
		return used
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Duration(limit))
	defer cancel()
	sample, err := c.Sample(ctx)
	if err != nil {
		return used // the list is as good without
	}
	for _, d := range sample.Devices {
		if d.MemoryUsedBytes != nil && d.UUID != "" {
			used[d.UUID] = *d.MemoryUsedBytes
		}
	}
	return used
}
