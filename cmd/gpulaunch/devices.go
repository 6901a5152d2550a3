//go:build linux

package main

import (
	"context"
	"fmt"
	"io"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/gpulaunch/gpulaunch/gpu"
	"github.com/gpulaunch/gpulaunch/launcher"
)

func newDevices() *cobra.Command {
	f := &jobFlags{}
	var asJSON bool
	c := &cobra.Command{
		Use:   "devices",
		Short: "List the machine's GPUs and where the list comes from",
		Long: `Devices lists all GPUs of the machine in PCI order, whether or not the inherited
CUDA_VISIBLE_DEVICES admits them, and says where the list comes from: NVML, the
driver's files, or nowhere.`,
		Example: `  gpulaunch devices
  gpulaunch devices --json | jq -r '.devices[].uuid'`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if err := environment(c.Flags()); err != nil {
				return err
			}
			spawner := launcher.NewSpawner()
			client := newClient(f.library, spawner)
			defer client.Close()
			inv := discover(context.Background(), client, f.library, f.gpuTimeout)
			if asJSON {
				return printJSON(c.OutOrStdout(), inv)
			}
			return printDevices(c.OutOrStdout(), inv)
		},
	}
	f.registerGPU(c.Flags())
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON for programs")
	return c
}

func printDevices(w io.Writer, inv gpu.Inventory) error {
	fmt.Fprintf(w, "source  %s (%s)\n", inv.Source, inv.Reason)
	if inv.DriverVersion != "" {
		fmt.Fprintf(w, "driver  %s\n", inv.DriverVersion)
	}
	if v := visible(inv); v.Set && len(inv.Devices) > 0 {
		fmt.Fprintf(w, "visible %d of them, by CUDA_VISIBLE_DEVICES=%q\n", len(v.Units), v.Value)
	}
	if len(inv.Devices) == 0 {
		return nil
	}
	fmt.Fprintln(w)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "GPU\tNAME\tPCI\tMEMORY\tCPUS\tUUID\tSTATE")
	for _, d := range inv.Devices {
		state := "ok"
		if !d.Usable() {
			state = d.Problem
		}
		fmt.Fprintf(t, "%d\t%s\t%s\t%s\t%s\t%s\t%s\n", d.Index, orDash(d.Name), d.PCIBusID, mebibytes(d.MemoryTotalBytes), orDash(d.CPUAffinity), orDash(d.UUID), state)
		for _, i := range d.MIGInstances {
			fmt.Fprintf(t, "\t  %s\t\t%s\t\t%s\t\n", orDash(i.Name), mebibytes(i.MemoryTotalBytes), i.UUID)
		}
	}
	return t.Flush()
}

func mebibytes(n uint64) string {
	if n == 0 {
		return "-"
	}
	return fmt.Sprintf("%d MiB", n>>20)
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}
