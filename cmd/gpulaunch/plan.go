package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/gpulaunch/gpulaunch/affinity"
	"github.com/gpulaunch/gpulaunch/cmd/gpulaunch/cli"
	"github.com/gpulaunch/gpulaunch/launcher/plan"
	"github.com/gpulaunch/gpulaunch/launcher/terminal"
)

// planFlags are those of plan beyond a job's.
type planFlags struct {
	cli.PlanFlags
	asJSON           bool
	svg              string
	from, localities string
}

func newPlan() *cobra.Command {
	f := &planFlags{}
	c := &cobra.Command{
		Use:   "plan [flags] [--] [PROGRAM [ARGUMENT...]]",
		Short: "Show what run would do, and start nothing",
		Long: `Plan shows which worker would get which device and which CPUs. It prints a table
and a drawing of the machine with each worker's cores marked. It can also print
JSON or write a picture. Plan takes the flags of run that matter for a plan. If
PROGRAM is given, plan checks that it can be found, and does not start it.

With --from, it plans for another machine, on any system: FILE is an archive
that gpulaunch capture has written, or any other archive or folder that holds a
sys tree. With --localities you say where the GPUs of that machine would be: at
NUMA nodes, at PCI addresses, or at an unknown location (-1).`,
		Example: `  gpulaunch plan
  gpulaunch plan --nproc-per-node=4 --affinity=exclusive --svg plan.svg
  gpulaunch plan --json | jq -r '.workers[].cpus'
  gpulaunch plan --from machine.tar.gz --affinity=core-complex
  gpulaunch plan --from sysfs.tar.bz2 --localities=0,0,1,1`,
		RunE: func(c *cobra.Command, args []string) error {
			if err := cli.FromEnvironment(c.Flags()); err != nil {
				return err
			}
			if err := f.Complete(os.Environ()); err != nil {
				return err
			}
			var argv []string
			if len(args) > 0 {
				var err error
				if argv, err = resolve(&f.PlanFlags, args); err != nil {
					return err
				}
			}
			return f.plan(c.OutOrStdout(), argv, unknownVariables(c.Flags()))
		},
	}
	fs := c.Flags()
	fs.SetInterspersed(false)
	f.Register(fs)
	fs.BoolVar(&f.asJSON, "json", false, "print the plan as JSON")
	fs.StringVar(&f.svg, "svg", "",
		"also write a picture of the machine and the plan\nto this `FILE`")
	fs.StringVar(&f.from, "from", "",
		"plan for the machine in this `FILE` or folder; see\ngpulaunch capture")
	fs.StringVar(&f.localities, "localities", "",
		"with --from, `LIST` of where the GPUs would be:\nNUMA nodes or PCI addresses, such as "+
			"0,0,1,-1")
	return c
}

// plan makes the plan and shows it, with warnings besides its own.
func (f *planFlags) plan(w io.Writer, argv, warnings []string) error {
	m, err := f.machine()
	if err != nil {
		return err
	}
	p, err := plan.New(m, f.Options)
	if err != nil {
		return err
	}
	p.Warnings = append(warnings, p.Warnings...)
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
		f.Options.Environ = nil // the variables of this machine are not the other's
		return machineFrom(f.from, f.localities)
	case f.localities != "":
		return plan.Machine{},
			fmt.Errorf("--localities=%s needs --from: on this machine the GPUs are where they are",
				f.localities)
	}
	return liveMachine(&f.PlanFlags)
}

// printJSON prints v as JSON for programs, in which nothing would be obeyed by a terminal.
func printJSON(w io.Writer, v any) error {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetIndent("", "  ")
	if err := e.Encode(v); err != nil {
		return err
	}
	_, err := w.Write(terminal.EscapeJSON(b.Bytes()))
	return err
}

// printPlan prints a plan as text.
func printPlan(w io.Writer, p plan.Plan, argv []string) error {
	var b strings.Builder
	line := func(name, format string, args ...any) {
		fmt.Fprintf(&b, "%-8s  %s\n", name, terminal.Sanitize(fmt.Sprintf(format, args...)))
	}
	line("mode", "%s (%s)", p.Mode, p.Reason)
	line("affinity", "%s", p.Affinity)
	if p.Memory != affinity.MemoryNone {
		line("memory", "%s", p.Memory)
	}
	port := fmt.Sprint(p.MasterPort)
	if p.FreePort {
		port = "a free port"
	}
	line("master", "%s, %s", p.MasterAddr, port)
	if p.Cgroup.Parent != "" {
		line("cgroup", "below %s", p.Cgroup.Parent)
	} else {
		line("cgroup", "none: %s", p.Cgroup.Reason)
	}
	if len(argv) > 0 {
		line("program", "%q", argv)
	}
	for _, text := range p.Warnings {
		line("warning", "%s", text)
	}
	b.WriteByte('\n')
	for _, row := range terminal.Table(planColumns, planRows(p)) {
		b.WriteString(strings.TrimRight(row, " ") + "\n")
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// planColumns holds the columns of the table of workers.
var planColumns = []terminal.Column{
	{Name: "RANK"}, {Name: "LOCAL_RANK"}, {Name: "DEVICE"}, {Name: "PCI"}, {Name: "NUMA"},
	{Name: "CPUS"}, {Name: "THREADS"},
}

// planRows returns a row for each worker.
func planRows(p plan.Plan) [][]string {
	var rows [][]string
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
		row := []string{
			fmt.Sprint(worker.Rank), worker.Env["LOCAL_RANK"], device, pci,
			worker.Env["GPULAUNCH_NUMA_NODES"], worker.CPUs.String(), threads,
		}
		for i, cell := range row {
			row[i] = terminal.Sanitize(cell)
		}
		rows = append(rows, row)
	}
	return rows
}
