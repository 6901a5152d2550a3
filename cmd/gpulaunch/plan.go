//go:build linux

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/gpulaunch/gpulaunch/launcher"
)

func newPlan() *cobra.Command {
	f := &jobFlags{}
	var asJSON bool
	c := &cobra.Command{
		Use:   "plan [flags] [--] [PROGRAM [ARGUMENT...]]",
		Short: "Show what run would do, and start nothing",
		Long: `Plan shows which worker would get which device and CPUs, as a table or as JSON.
It takes the flags of run that matter for that. A PROGRAM is looked for but not
started.`,
		Example: `  gpulaunch plan
  gpulaunch plan --nproc-per-node=4 --affinity=exclusive
  gpulaunch plan --json | jq -r '.workers[].cpus'`,
		RunE: func(c *cobra.Command, args []string) error {
			if err := environment(c.Flags()); err != nil {
				return err
			}
			if err := f.complete(args); err != nil {
				return err
			}
			var argv []string
			if len(args) > 0 {
				var err error
				if argv, err = f.command.Resolve(); err != nil {
					return err
				}
			}
			spawner := launcher.NewSpawner()
			client := newClient(f.library, spawner)
			defer client.Close()
			m, err := readMachine(context.Background(), client, f)
			if err != nil {
				return err
			}
			p, err := launcher.NewPlan(m, f.options)
			if err != nil {
				return err
			}
			if asJSON {
				return printJSON(c.OutOrStdout(), p)
			}
			return printPlan(c.OutOrStdout(), p, argv)
		},
	}
	fs := c.Flags()
	fs.SetInterspersed(false)
	f.register(fs)
	fs.BoolVar(&asJSON, "json", false, "print JSON for programs")
	return c
}

func printJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(v)
}

func printPlan(w io.Writer, p launcher.Plan, argv []string) error {
	fmt.Fprintf(w, "mode      %s (%s)\n", p.Mode, p.Reason)
	fmt.Fprintf(w, "affinity  %s\n", p.Affinity)
	port := fmt.Sprint(p.MasterPort)
	if p.FreePort {
		port = "a free port"
	}
	fmt.Fprintf(w, "master    %s, %s\n", p.MasterAddr, port)
	if p.Cgroup.Parent != "" {
		fmt.Fprintf(w, "cgroup    below %s\n", p.Cgroup.Parent)
	} else {
		fmt.Fprintf(w, "cgroup    none: %s\n", p.Cgroup.Reason)
	}
	if len(argv) > 0 {
		fmt.Fprintf(w, "program   %q\n", argv)
	}
	for _, text := range p.Warnings {
		fmt.Fprintf(w, "warning   %s\n", text)
	}
	fmt.Fprintln(w)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "RANK\tLOCAL_RANK\tDEVICE\tPCI\tNUMA\tCPUS\tTHREADS")
	for _, worker := range p.Workers {
		device, pci := "-", "-"
		if d := worker.Device; d != nil {
			device, pci = fmt.Sprintf("GPU %d %s", d.Index, d.Name), d.PCIBusID
			if d.ParentUUID != "" {
				device = fmt.Sprintf("GPU %d %s", d.Index, d.UUID)
			}
		}
		threads := worker.Env["OMP_NUM_THREADS"]
		if threads == "" {
			threads = "inherited"
		}
		fmt.Fprintf(t, "%d\t%s\t%s\t%s\t%s\t%s\t%s\n", worker.Rank, worker.Env["LOCAL_RANK"], device, pci,
			worker.Env["GPULAUNCH_NUMA_NODES"], worker.CPUs, threads)
	}
	return t.Flush()
}
