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

	"github.com/gpulaunch/gpulaunch/gpu"
	"github.com/gpulaunch/gpulaunch/launcher/doctor"
	"github.com/gpulaunch/gpulaunch/launcher/machine"
	"github.com/gpulaunch/gpulaunch/launcher/plan"
	"github.com/gpulaunch/gpulaunch/launcher/report"
	"github.com/gpulaunch/gpulaunch/metrics"
)

func newDoctor() *cobra.Command {
	f := &jobFlags{}
	var asJSON bool
	c := &cobra.Command{
		Use:   "doctor",
		Short: "Check whether a job would start well here, and say what to do",
		Long: `Doctor checks the driver, the GPUs, the CPUs near them, control groups, limits and
inherited variables, and prints a line about each with what it found:

    ok     as it should be
    warn   a job starts, but something would make it slow, fragile or surprising
    FAIL   no job would start, or it would use a GPU that cannot be relied on
    ?      could not be told

Below warn and FAIL stands what to do. It changes nothing and starts no job. The exit
code is 0 if nothing FAILs, and else 1.`,
		Example: `  gpulaunch doctor
  gpulaunch doctor --json | jq -r '.checks[] | select(.status == "fail") | .remedy'`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if err := environment(c.Flags()); err != nil {
				return err
			}
			return diagnose(c.OutOrStdout(), examine(f), asJSON)
		},
	}
	f.registerGPU(c.Flags())
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON for programs")
	return c
}

// examine gathers what only this package knows, and has everything checked.
func examine(f *jobFlags) []doctor.Result {
	client, closeClient := newClient(f.library)
	defer closeClient()
	begin := time.Now()
	inv := discover(context.Background(), client, f.library, f.gpuTimeout)
	g := doctor.Given{Environ: os.Environ(), Inventory: inv, Visible: visible(inv), Library: f.library, NoNVML: noNVML, Metrics: tryMetrics()}
	g.Hung = inv.Source != gpu.SourceNVML && time.Since(begin) >= time.Duration(f.gpuTimeout)
	g.Plan, g.PlanErr = ordinaryPlan(g)
	return doctor.Examine(doctor.Gather(g))
}

// ordinaryPlan is what run would do without any flags, by the variables that stand for them.
func ordinaryPlan(g doctor.Given) (plan.Plan, error) {
	var f jobFlags
	fs := pflag.NewFlagSet("", pflag.ContinueOnError)
	f.register(fs)
	if err := environment(fs); err != nil {
		return plan.Plan{}, err
	}
	if err := f.complete(nil); err != nil {
		return plan.Plan{}, err
	}
	m, err := machine.Read("", g.Inventory, g.Visible, f.options)
	if err != nil {
		return plan.Plan{}, err
	}
	return plan.New(m, f.options)
}

// tryMetrics listens where run would, for a moment.
func tryMetrics() doctor.Metrics {
	chosen := os.Getenv("GPULAUNCH_METRICS_ADDRESS")
	m := doctor.Metrics{Address: cmp.Or(chosen, metrics.DefaultAddress), Chosen: chosen != ""}
	if m.Address == metrics.Off {
		return doctor.Metrics{}
	}
	l, err := net.Listen("tcp", m.Address)
	if m.Err = err; err == nil {
		l.Close()
	}
	return m
}

// diagnose prints the results and gives the error that carries the exit code.
func diagnose(w io.Writer, results []doctor.Result, asJSON bool) error {
	ready := doctor.Ready(results)
	var err error
	if asJSON {
		err = printJSON(w, struct {
			Ready  bool            `json:"ready"`
			Checks []doctor.Result `json:"checks"`
		}{ready, results})
	} else {
		err = printDiagnosis(w, results, report.StyleOf(os.Stdout, os.Getenv))
	}
	if err == nil && !ready {
		return &exitError{code: 1}
	}
	return err
}

// marks are what stands before a line, each with its colour (ECMA-48, SGR).
var marks = map[doctor.Status]struct{ text, color string }{
	doctor.OK: {"ok", green}, doctor.Warn: {"warn", yellow}, doctor.Fail: {"FAIL", red}, doctor.Unknown: {"?", yellow},
}

// printDiagnosis prints a line for each result and one for what to do, broken where the terminal ends.
func printDiagnosis(w io.Writer, results []doctor.Result, style report.Style) error {
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
		head := fmt.Sprintf("  %s  %-15s  ", paint(style, mark.color, fmt.Sprintf("%-4s", mark.text)), r.Check)
		const indent = 25
		writeWrapped(&b, head, indent, style.Width, escaped(r.Found))
		if r.Remedy != "" {
			writeWrapped(&b, strings.Repeat(" ", indent-3)+"→  ", indent, style.Width, escaped(r.Remedy))
		}
	}
	verdict := "a job would start well"
	if !doctor.Ready(results) {
		verdict = "a job would not start well"
	}
	fmt.Fprintf(&b, "\n%s: %d ok, %d warn, %d FAIL, %d ?\n", verdict, counts[doctor.OK], counts[doctor.Warn], counts[doctor.Fail], counts[doctor.Unknown])
	_, err := io.WriteString(w, b.String())
	return err
}

// writeWrapped writes text in lines of the terminal's width, head before the first and blanks before the others. What
// is no terminal, with no width, gets one line. Words are never cut: they may be commands to copy.
func writeWrapped(b *strings.Builder, head string, indent, width int, text string) {
	b.WriteString(head)
	column := indent
	for i, word := range strings.Fields(text) {
		n := len([]rune(word))
		switch {
		case i == 0:
		case width > 0 && column+1+n > width:
			b.WriteString("\n" + strings.Repeat(" ", indent))
			column = indent
		default:
			b.WriteByte(' ')
			column++
		}
		b.WriteString(word)
		column += n
	}
	b.WriteByte('\n')
}
