//go:build linux

package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/gpulaunch/gpulaunch/cmd/gpulaunch/cli"
	"github.com/gpulaunch/gpulaunch/cmd/gpulaunch/run"
	"github.com/gpulaunch/gpulaunch/gpu"
	"github.com/gpulaunch/gpulaunch/launcher/doctor"
	"github.com/gpulaunch/gpulaunch/launcher/machine"
	"github.com/gpulaunch/gpulaunch/launcher/plan"
	"github.com/gpulaunch/gpulaunch/launcher/terminal"
)

func newDoctor() *cobra.Command {
	f := &cli.GPUFlags{}
	var asJSON bool
	c := &cobra.Command{
		Use:   "doctor",
		Short: "Check whether a job would start well, and say what to do",
		Long: `Doctor checks the driver, the GPUs, the CPUs near them, control groups, limits
and inherited variables, and prints what it found about each:

    ok     All is well.
    warn   A job would start, but it could be slow, fragile or surprising.
    FAIL   No job would start, or it would use a GPU that is not reliable.
    ?      Doctor could not find out.

Below each warn and FAIL it says what to do. It changes nothing and starts no
job. The exit code is 1 if there is a FAIL, and otherwise 0.`,
		Example: `  gpulaunch doctor
  gpulaunch doctor --json | jq -r '.checks[].remedy // empty'`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if err := cli.FromEnvironment(c.Flags()); err != nil {
				return err
			}
			return diagnose(c.OutOrStdout(), examine(f), asJSON)
		},
	}
	f.RegisterGPU(c.Flags())
	c.Flags().BoolVar(&asJSON, "json", false, "print the results as JSON")
	return c
}

// examine gathers what only this package knows, and has everything checked.
func examine(f *cli.GPUFlags) []doctor.Result {
	client, closeClient := run.NewClient(f.Library)
	defer closeClient()
	begin := time.Now()
	inv := run.Discover(context.Background(), client, *f)
	g := doctor.Given{
		Environ: os.Environ(), Inventory: inv, Visible: run.Visible(inv), Library: f.Library,
		NoNVML: noNVML, Metrics: tryMetrics(),
	}
	g.Hung = inv.Source != gpu.SourceNVML && time.Since(begin) >= time.Duration(f.Timeout)
	g.Plan, g.PlanErr = ordinaryPlan(g)
	g.Python, g.PythonErr = run.FindPython()
	return doctor.Examine(doctor.Gather(g))
}

// ordinaryPlan is what run would do without any flags, by the variables that stand for them.
func ordinaryPlan(g doctor.Given) (plan.Plan, error) {
	var f cli.PlanFlags
	fs := pflag.NewFlagSet("", pflag.ContinueOnError)
	f.Register(fs)
	if err := cli.FromEnvironment(fs); err != nil {
		return plan.Plan{}, err
	}
	if err := f.Complete(g.Environ); err != nil {
		return plan.Plan{}, err
	}
	m, err := machine.Read("", g.Inventory, g.Visible, f.Options)
	if err != nil {
		return plan.Plan{}, err
	}
	return plan.New(m, f.Options)
}

// tryMetrics listens where run would, for a moment.
func tryMetrics() doctor.Metrics {
	chosen := os.Getenv("GPULAUNCH_METRICS_ADDRESS")
	m := doctor.Metrics{Address: cmp.Or(chosen, run.DefaultMetricsAddress), Chosen: chosen != ""}
	if m.Address == run.NoMetrics {
		return doctor.Metrics{}
	}
	l, err := net.Listen("tcp", m.Address)
	if m.Err = err; err == nil {
		l.Close()
	}
	return m
}

// diagnose prints the results. It returns an error with the exit code if a job would not start
// well.
func diagnose(w io.Writer, results []doctor.Result, asJSON bool) error {
	ready := doctor.Ready(results)
	var err error
	if asJSON {
		err = printJSON(w, struct {
			Ready  bool            `json:"ready"`
			Checks []doctor.Result `json:"checks"`
		}{ready, results})
	} else {
		err = printDiagnosis(w, results, terminal.StyleOf(os.Stdout, os.Getenv))
	}
	if err == nil && !ready {
		return &cli.ExitError{Code: 1}
	}
	return err
}

// marks holds the word that stands before a result, and its colour.
var marks = map[doctor.Status]struct {
	text  string
	color terminal.Color
}{
	doctor.OK:      {"ok", terminal.Green},
	doctor.Warn:    {"warn", terminal.Yellow},
	doctor.Fail:    {"FAIL", terminal.Red},
	doctor.Unknown: {"?", terminal.Yellow},
}

// printDiagnosis prints each result and what to do about it, in lines that fit the terminal.
func printDiagnosis(w io.Writer, results []doctor.Result, style terminal.Style) error {
	var b strings.Builder
	area := ""
	counts := map[doctor.Status]int{}
	for _, r := range results {
		if r.Area != area {
			area = r.Area
			fmt.Fprintln(&b, area)
		}
		counts[r.Status]++
		mark := marks[r.Status]
		status := style.Paint(mark.color, terminal.Pad(mark.text, len("FAIL")))
		head := fmt.Sprintf("  %s  %-15s  ", status, r.Check)
		b.WriteString(terminal.Hang(head, terminal.Sanitize(r.Found), style.Width))
		if r.Remedy != "" {
			arrow := strings.Repeat(" ", terminal.Width(head)-3) + "→  "
			b.WriteString(terminal.Hang(arrow, terminal.Sanitize(r.Remedy), style.Width))
		}
	}
	verdict := "a job would start well"
	if !doctor.Ready(results) {
		verdict = "a job would not start well"
	}
	fmt.Fprintf(&b, "\n%s: %d ok, %d warn, %d FAIL, %d ?\n", verdict,
		counts[doctor.OK], counts[doctor.Warn], counts[doctor.Fail], counts[doctor.Unknown])
	_, err := io.WriteString(w, b.String())
	return err
}
