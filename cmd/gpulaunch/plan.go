//go:build linux

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/gpulaunch/gpulaunch/affinity"
	"github.com/gpulaunch/gpulaunch/launcher/plan"
)

// planFlags are those of plan beyond a job's.
type planFlags struct {
	jobFlags
	asJSON           bool
	svg              string
	from, localities string
}

func newPlan() *cobra.Command {
	f := &planFlags{}
	c := &cobra.Command{
		Use:   "plan [flags] [--] [PROGRAM [ARGUMENT...]]",
		Short: "Show what run would do, and start nothing",
		Long: `Plan shows which worker would get which device and CPUs: as a table and a drawing of
the machine with each worker's cores marked, as JSON, or as a picture. It takes the
flags of run that matter for that. A PROGRAM is looked for but not started.

With --from it plans for another machine: one that gpulaunch capture has written to
FILE, or any archive or folder with a sys tree in it, and --localities says where the
GPUs would be: at PCI addresses, at NUMA nodes, or at -1, nobody knows where.`,
		Example: `  gpulaunch plan
  gpulaunch plan --nproc-per-node=4 --affinity=exclusive --svg plan.svg
  gpulaunch plan --json | jq -r '.workers[].cpus'
  gpulaunch plan --from machine.tar.gz --affinity=core-complex
  gpulaunch plan --from sysfs.tar.bz2 --localities=0,0,1,1`,
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
			return f.plan(c.OutOrStdout(), argv)
		},
	}
	fs := c.Flags()
	fs.SetInterspersed(false)
	f.register(fs)
	fs.BoolVar(&f.asJSON, "json", false, "print JSON for programs")
	fs.StringVar(&f.svg, "svg", "", "`file` for a picture of the machine and the plan")
	fs.StringVar(&f.from, "from", "", "`file` or folder of the machine to plan for, see gpulaunch capture")
	fs.StringVar(&f.localities, "localities", "", "where GPUs would be, with --from: `PCI addresses or NUMA nodes`, as 0,0,1,-1")
	return c
}

// plan makes the plan and shows it.
func (f *planFlags) plan(w io.Writer, argv []string) error {
	m, err := f.machine()
	if err != nil {
		return err
	}
	p, err := plan.New(m, f.options)
	if err != nil {
		return err
	}
	pic := picture(m, p)
	if f.svg != "" {
		if err := writeSVG(f.svg, pic); err != nil {
			return err
		}
	}
	if f.asJSON {
		return printJSON(w, p)
	}
	if err := printPlan(w, p, argv); err != nil {
		return err
	}
	drawing, err := drawText(pic)
	if err != nil {
		return err
	}
	_, err = fmt.Fprint(w, "\n", drawing)
	return err
}

// machine is this one, or that of --from.
func (f *planFlags) machine() (plan.Machine, error) {
	switch {
	case f.from != "":
		f.options.Environ = nil // the variables of this machine are not the other's
		return machineFrom(f.from, f.localities)
	case f.localities != "":
		return plan.Machine{}, fmt.Errorf("--localities=%s needs --from: on this machine the GPUs are where they are", f.localities)
	}
	client, closeClient := newClient(f.library)
	defer closeClient()
	return readMachine(context.Background(), client, &f.jobFlags)
}

func printJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(v)
}

func printPlan(w io.Writer, p plan.Plan, argv []string) error {
	fmt.Fprintf(w, "mode      %s (%s)\n", p.Mode, p.Reason)
	fmt.Fprintf(w, "affinity  %s\n", p.Affinity)
	if p.Memory != affinity.MemoryNone {
		fmt.Fprintf(w, "memory    %s\n", p.Memory)
	}
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
