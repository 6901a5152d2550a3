package report

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/gpulaunch/gpulaunch/launcher/launchertest"
	"github.com/gpulaunch/gpulaunch/launcher/terminal"
)

var start = time.Date(2026, 1, 2, 3, 4, 5, 678e6, time.UTC)

const pythonTraceback = `Traceback (most recent call last):
  File "/srv/train/train.py", line 212, in <module>
    main()
  File "/srv/train/train.py", line 187, in main
    loss = model(batch.to(device, non_blocking=True)).mean()
RuntimeError: CUDA error: device-side assert triggered
CUDA kernel errors might be asynchronously reported at some other API call, so the stacktrace below might be incorrect.
Compile with ` + "`TORCH_USE_CUDA_DSA`" + ` to enable device-side assertions.
`

// job returns a job of n workers on one machine in which rank n/2 fails.
func job(n int, gpus bool) Report {
	r := Report{
		RunID: "train", Host: "node17", Launcher: "gpulaunch v1.0.0", StartMethod: "exec",
		WorldSize: n, Nodes: 1,
		Started: start, Ended: start.Add(14 * time.Second), ExitCode: 1,
	}
	for i := range n {
		w := Worker{
			Rank: i, LocalRank: i, PID: 4711 + i, Host: "node17",
			CPUs:       fmt.Sprintf("%d-%d", 16*i, 16*i+15),
			Started:    start,
			Ended:      start.Add(12350*time.Millisecond + time.Duration(i)*7*time.Millisecond),
			ExitStatus: ExitStatus{Code: 143, Signal: "SIGTERM"}, How: ByLauncher,
		}
		if gpus {
			w.Device = &Device{
				Index: i, Name: "NVIDIA H100 80GB HBM3", PCIBusID: fmt.Sprintf("0000:%02x:00.0",
					0x1a+i),
				UUID: fmt.Sprintf("GPU-8f6d8f1e-0001-4b6c-9d2e-2f1a5c3b7d%02x", i),
			}
		}
		switch i {
		case n / 2:
			w.RootCause, w.How, w.Code, w.Signal = true, ByItself, 1, ""
			w.Ended = start.Add(12300 * time.Millisecond)
			message, _,
				_ := strings.Cut(pythonTraceback[strings.Index(pythonTraceback, "RuntimeError"):],
				"\n")
			w.Raised = &Raised{Message: message, Traceback: pythonTraceback,
				Time: start.Add(12 * time.Second)}
		case 0:
			w.How, w.Code, w.Signal, w.Core = ByItself, 134, "SIGABRT", true
			w.LastStderr = []string{
				"terminate called after throwing an instance of 'c10::DistBackendError'",
				"  what():  NCCL error in: ProcessGroupNCCL.cpp:1970, remote process exited or " +
					"there was a network error, NCCL version 2.21.5",
			}
		case 1:
			w.How, w.Code, w.Signal = ByItself, 3, ""
			w.Raised = &Raised{Message: "ValueError: no",
				Traceback: "Traceback (most recent call last):\nValueError: no\n"}
		case 3:
			w.How, w.Code, w.Signal, w.Ended = Success, 0, "", start.Add(11*time.Second)
		}
		r.Workers = append(r.Workers, w)
	}
	return r
}

// root returns the root cause of such a job.
func root(r *Report) *Worker {
	for i := range r.Workers {
		if r.Workers[i].RootCause {
			return &r.Workers[i]
		}
	}
	panic("no root cause")
}

func print(t testing.TB, r Report, style terminal.Style) string {
	t.Helper()
	var b bytes.Buffer
	if err := r.Table(&b, style); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// golden compares what is printed at three widths with a file in testdata. It also checks that each
// line without a bar fits into the width.
func golden(t *testing.T, name string, r Report) {
	t.Helper()
	var got strings.Builder
	for _, width := range []int{40, 80, 120} {
		text := print(t, r, terminal.Style{Width: width})
		for line := range strings.Lines(text) {
			if line = strings.TrimSuffix(line, "\n"); terminal.Width(line) > width &&
				!strings.HasPrefix(line, bar) {
				t.Errorf("%d cells are used of %d: %q", terminal.Width(line), width, line)
			}
		}
		fmt.Fprintf(&got, "%d columns\n%s\n", width, text)
	}
	launchertest.Golden(t, name+".txt", got.String())
}

func TestTableOfJobs(t *testing.T) {
	for _, n := range []int{1, 4, 100} {
		golden(t, fmt.Sprintf("gpu-%d", n), job(n, true))
		golden(t, fmt.Sprintf("cpu-%d", n), job(n, false))
	}
}

func TestTableOfOtherEnds(t *testing.T) {
	long := job(4, true)
	var frames strings.Builder
	for i := range 100 {
		fmt.Fprintf(&frames, "  File \"recursive.py\", line %d, in f\n", i)
	}
	root(&long).Raised = &Raised{Message: "RecursionError: too deep", Traceback: "Traceback:\n" +
		frames.String() + "RecursionError: too deep\n"}
	golden(t, "long-traceback", long)

	killed := job(2, true)
	w := root(&killed)
	w.Code, w.Signal, w.How, w.Raised = 137, "SIGKILL", OutOfMemory, nil
	w.CPUs = strings.Repeat("0,2,4,6,", 50) + "8"
	w.LastStderr = []string{"epoch 3", "loading the validation set 数据集 🚀"}
	golden(t, "out-of-memory", killed)

	silent := job(2, false)
	w = root(&silent)
	w.Raised, w.Code, w.Signal, w.Core = nil, 139, "SIGSEGV", true
	golden(t, "silent", silent)
	w.ErrorFile = "it holds 17 MiB, more than the 1 MiB that is read"
	golden(t, "error-file", silent)

	alike := job(6, false)
	for i := range alike.Workers {
		if w := &alike.Workers[i]; w.Rank > 1 && w.Rank != 3 {
			w.How, w.Code, w.Signal, w.Raised = ByItself, 1, "", root(&alike).Raised
		}
	}
	alike.Workers[4].Raised = alike.Workers[1].Raised
	alike.Restarts = 2
	alike.Earlier = []Worker{alike.Workers[1], alike.Workers[0]}
	golden(t, "alike-restarted", alike)

	outside := job(2, false)
	for i := range outside.Workers {
		w := &outside.Workers[i]
		*w = Worker{Rank: w.Rank, LocalRank: w.LocalRank, PID: w.PID, Started: w.Started,
			Ended: w.Ended, ExitStatus: ExitStatus{Code: 137, Signal: "SIGKILL"}, How: FromOutside}
	}
	golden(t, "no-root-cause", outside)
}

func TestNoTableWithoutAFailure(t *testing.T) {
	r := job(4, true)
	for i := range r.Workers {
		r.Workers[i].RootCause, r.Workers[i].How = false, ByLauncher
	}
	r.Workers[2].How, r.Workers[2].Code = Success, 0
	for _, r := range []Report{{}, r} {
		if text := print(t, r, terminal.Style{}); text != "" {
			t.Errorf("a job without a failure has the table\n%s", text)
		}
	}
	r.Workers[1].How = FromOutside
	if print(t, r, terminal.Style{}) == "" {
		t.Error("a worker was killed from outside, and there is no table")
	}
}

func TestTableLeavesTheReportAlone(t *testing.T) {
	r, same := job(4, true), job(4, true)
	print(t, r, terminal.Style{})
	if diff := cmp.Diff(same, r); diff != "" {
		t.Error(diff)
	}
}

func TestManyEarlierAttempts(t *testing.T) {
	r := job(1, false)
	for range 40 {
		r.Earlier = append(r.Earlier, r.Workers[0])
	}
	text := print(t, r, terminal.Style{})
	if strings.Count(text, "attempt ") != maxRows ||
		!strings.Contains(text, "  and 8 more; --report FILE has all of them\n") {
		t.Error(text)
	}
}

func TestColours(t *testing.T) {
	const boldRed, dim, reset = "\x1b[1;31m", "\x1b[2m", "\x1b[0m" // ECMA-48, 8.3.117 (SGR)
	r := job(4, true)
	plain, coloured := print(t, r, terminal.Style{Width: 80}),
		print(t, r, terminal.Style{Width: 80, Color: true})
	if strings.Contains(plain, "\x1b") {
		t.Errorf("there is colour without being asked for:\n%q", plain)
	}
	var bold, faint []string
	for line := range strings.Lines(coloured) {
		if strings.HasPrefix(line, boldRed) && strings.HasSuffix(line, reset+"\n") {
			bold = append(bold, line)
		}
		if strings.HasPrefix(line, dim) && strings.HasSuffix(line, reset+"\n") {
			faint = append(faint, line)
		}
	}
	if len(bold) != 1 || !strings.Contains(bold[0], "Root cause: rank 2") || len(faint) != 0 {
		t.Errorf("want the headline, and nothing else, in bold red, and no dim row:\n%q", coloured)
	}
	r.Workers[3].How, r.Workers[3].Code, r.Workers[3].Signal = ByLauncher, 143, "SIGTERM"
	coloured = print(t, r, terminal.Style{Width: 80, Color: true})
	if strings.Count(coloured, dim) != 1 ||
		!strings.Contains(coloured, dim+"     3      3  GPU 3") {
		t.Errorf("the row of rank 3 is not dim:\n%q", coloured)
	}
	strip := strings.NewReplacer(boldRed, "", dim, "", reset, "")
	if diff := cmp.Diff(print(t, r, terminal.Style{Width: 80}),
		strip.Replace(coloured)); diff != "" {
		t.Errorf("colour changes more than colour: %s", diff)
	}
}

func TestSort(t *testing.T) {
	at := func(s int) time.Time { return start.Add(time.Duration(s) * time.Second) }
	r := Report{Workers: []Worker{
		{Rank: 0, How: ByLauncher, ExitStatus: ExitStatus{Code: 143}, Ended: at(1)},
		{Rank: 1, How: Success, Ended: at(3)},
		{Rank: 2, How: Success, Ended: at(2)},
		{Rank: 3, How: ByItself, ExitStatus: ExitStatus{Code: 1}, Ended: at(9)},
		{Rank: 9, How: ByLauncher, ExitStatus: ExitStatus{Code: 0}, Ended: at(0)},
		{Rank: 5, How: FromOutside, ExitStatus: ExitStatus{Code: 137}, Ended: at(8)},
		{Rank: 4, How: ByItself, ExitStatus: ExitStatus{Code: 1}, Ended: at(8)},
		{Rank: 7, How: ByItself, ExitStatus: ExitStatus{Code: 1}, Ended: at(10), RootCause: true},
	}}
	r.Sort()
	var got []int
	for _, w := range r.Workers {
		got = append(got, w.Rank)
	}
	if diff := cmp.Diff([]int{7, 4, 5, 3, 2, 1, 9, 0}, got); diff != "" {
		t.Error(diff)
	}
}

func TestExit(t *testing.T) {
	for want, w := range map[string]ExitStatus{
		"exited with code 3":                           {Code: 3},
		"terminated with signal SIGABRT":               {Code: 134, Signal: "SIGABRT"},
		"terminated with signal SIGSEGV (core dumped)": {Code: 139, Signal: "SIGSEGV", Core: true},
		"terminated with signal 40":                    {Code: 168, Signal: "signal 40"},
	} {
		if got := w.String(); got != want {
			t.Errorf("it says %q instead of %q", got, want)
		}
	}
}
