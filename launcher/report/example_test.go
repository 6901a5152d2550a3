package report_test

import (
	"encoding/json"
	"fmt"
	"log"
	"os"
	"time"

	"github.com/gpulaunch/gpulaunch/launcher/report"
	"github.com/gpulaunch/gpulaunch/launcher/terminal"
)

// This program reads a file that gpulaunch run --report=FILE wrote, and prints which worker failed
// first. A script of a batch system could decide with it whether to submit the job again.
func Example() {
	data, err := os.ReadFile("testdata/report.json")
	if err != nil {
		log.Fatal(err)
	}
	var r report.Report
	if err := json.Unmarshal(data, &r); err != nil {
		log.Fatal(err)
	}
	r.Sort()
	if w := r.Workers[0]; w.RootCause {
		fmt.Printf("rank %d on %s %s\n", w.Rank, terminal.Sanitize(w.Host), w.ExitStatus.String())
		if w.Raised != nil {
			fmt.Println(terminal.OneLine(w.Raised.Message))
		}
	}
	// Output:
	// rank 2 on node17 exited with code 1
	// RuntimeError: CUDA error: device-side assert triggered
}

func ExampleReport_Table() {
	start := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	r := report.Report{
		Host: "node17", WorldSize: 2,
		Workers: []report.Worker{
			{
				Rank: 0, PID: 4711, Started: start, Ended: start.Add(14 * time.Second),
				ExitStatus: report.ExitStatus{Code: 143, Signal: "SIGTERM"}, How: report.ByLauncher,
			},
			{
				Rank: 1, LocalRank: 1, PID: 4712, Started: start,
				Ended:      start.Add(12 * time.Second),
				ExitStatus: report.ExitStatus{Code: 1}, How: report.ByItself, RootCause: true,
				LastStderr: []string{"cannot open data.bin: no such file"},
			},
		},
	}
	style := terminal.StyleOf(os.Stdout, os.Getenv)
	style.Width = 60
	if err := r.Table(os.Stdout, style); err != nil {
		log.Fatal(err)
	}
	// Output:
	// ────────────────────────────────────────────────────────────
	// Root cause: rank 1 of 2 exited with code 1, by itself
	//   where     node17, local rank 1, pid 4712
	//   ended     2026-01-02 03:04:17.000 UTC, after 12s
	//   last lines of its stderr:
	//   │ cannot open data.bin: no such file
	//
	// Other workers, and how long after the root cause they ended:
	//   RANK   PID  EXIT       AFTER  HOW
	//      0  4711  SIGTERM  +2.000s  killed by the launcher
	// ────────────────────────────────────────────────────────────
}
