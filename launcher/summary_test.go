package launcher

import (
	"errors"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/gpulaunch/gpulaunch/launcher/internal/process"
	"github.com/gpulaunch/gpulaunch/launcher/report"
)

// TestHowEnded checks who is taken for the cause of a worker's end.
func TestHowEnded(t *testing.T) {
	killed := ExitStatus{Code: 137, Signal: "SIGKILL"}
	for _, c := range []struct {
		end          ExitStatus
		stopped, oom bool
		want         report.How
	}{
		{ExitStatus{}, false, false, report.Success},
		{ExitStatus{}, true, false, report.ByLauncher},
		{ExitStatus{Code: 3}, false, false, report.ByItself},
		{ExitStatus{Code: 3}, true, false, report.ByLauncher},
		{killed, false, false, report.FromOutside},
		{killed, false, true, report.OutOfMemory},
		{killed, true, true, report.ByLauncher},
		{ExitStatus{Code: 137}, false, false, report.ByItself}, // it exited with that code
		{ExitStatus{Code: 143, Signal: "SIGTERM"}, false, false, report.FromOutside},
		{ExitStatus{Code: 139, Signal: "SIGSEGV"}, false, false, report.ByItself},
	} {
		if got := howEnded(c.end, c.stopped, c.oom); got != c.want {
			t.Errorf("%s, stopped %v, out of memory %v: %s, want %s", c.end, c.stopped, c.oom, got,
				c.want)
		}
	}
}

// TestFailure checks which error stands for the end of a job.
func TestFailure(t *testing.T) {
	internal := errors.New("cannot start")
	root := failedResult()
	root.Err, root.Signal = internal, "SIGTERM"
	var exited *ExitedError
	if err := root.Failure(); !errors.As(err, &exited) || exited.ExitCode != 3 {
		t.Errorf("a worker failed: %#v", err)
	}
	var own Result
	own.Err, own.Signal = internal, "SIGTERM"
	if err := own.Failure(); err != internal {
		t.Errorf("the launcher failed: %#v", err)
	}
	var left Result
	left.Unkillable, left.Signal = []process.Descendant{{PID: 1 << 30, Name: "sh"}}, "SIGTERM"
	if err := left.Failure(); err == nil ||
		err.Error() != "1 process cannot be killed: 1073741824 (sh)" {
		t.Errorf("a process is left: %#v", err)
	}
	var stopped Result
	stopped.Signal = "SIGINT"
	var stop *StoppedError
	if err := stopped.Failure(); !errors.As(err, &stop) || stop.Signal != unix.SIGINT {
		t.Errorf("the job was stopped: %#v", err)
	}
	if err := (Result{}).Failure(); err != nil {
		t.Errorf("all went well: %v", err)
	}
}

// TestStartCode checks the exit codes of jobs that could not be run.
func TestStartCode(t *testing.T) {
	for err, want := range map[error]int{
		errors.New("any"): 125, &StartError{Program: "x", Err: unix.ENOENT}: 127,
		&StartError{Program: "x", Err: unix.EACCES}: 126,
	} {
		if got := startCode(err); got != want {
			t.Errorf("%v: %d, want %d", err, got, want)
		}
	}
}

// TestSummary checks what the user is told of the end of a job.
func TestSummary(t *testing.T) {
	sh := func(pid int) process.Descendant { return process.Descendant{PID: pid, Name: "sh"} }
	stopped := report.Worker{Rank: 5, How: report.ByLauncher, ExitStatus: ExitStatus{Code: 143}}
	const failed = "failed: rank 0 (pid 0) exited with code 3 after 0s"
	for what, c := range map[string]struct {
		change func(*Result)
		want   string // lines
	}{
		"all went well": {func(r *Result) { r.Workers = nil }, ""},
		"a failure":     {func(*Result) {}, failed},
		"an error of its own": {func(r *Result) {
			r.Workers, r.Err = nil, errors.New("cannot start")
		}, "cannot start"},
		"leftovers": {func(r *Result) {
			r.Workers, r.Killed = nil, []process.Descendant{sh(1 << 29)}
			r.Unkillable = []process.Descendant{sh(1 << 30)}
		}, "killed 1 process that workers left behind: 536870912 (sh)\n" +
			"1 process cannot be killed: 1073741824 (sh)"},
		"out of memory": {func(r *Result) { r.OutOfMemory = true },
			failed + "; the kernel has killed processes of the job because memory ran out"},
		"the worker was out of memory": {func(r *Result) { r.Workers[0].How = report.OutOfMemory },
			failed + "; the kernel has killed processes of the job because memory ran out"},
		"another failure": {func(r *Result) {
			r.Workers = append(r.Workers, report.Worker{Rank: 1, How: report.ByItself,
				ExitStatus: ExitStatus{Code: 4}}, report.Worker{Rank: 2, How: report.Success})
		}, failed + "; then rank 1 (pid 0) exited with code 4 after 0s"},
		"another was stopped": {func(r *Result) { r.Workers = append(r.Workers, stopped) },
			failed + "; the other worker was stopped"},
		"others were stopped": {func(r *Result) { r.Workers = append(r.Workers, stopped, stopped) },
			failed + "; 2 other workers were stopped"},
		"one was not started": {func(r *Result) { r.NotStarted = 1 },
			failed + "; 1 worker was not started any more"},
		"one restart":  {func(r *Result) { r.Restarts = 1 }, failed + "; 1 restart did not help"},
		"two restarts": {func(r *Result) { r.Restarts = 2 }, failed + "; 2 restarts did not help"},
	} {
		r := failedResult()
		c.change(&r)
		if got := strings.Join(r.Summary(), "\n"); got != c.want {
			t.Errorf("%s:\n got %q\nwant %q", what, got, c.want)
		}
	}
}

// TestAllGPULeftoversAreNamed checks that nothing is said of more processes if there are none.
func TestAllGPULeftoversAreNamed(t *testing.T) {
	var r Result
	r.GPULeftovers = make([]report.GPUProcess, maxLeftoverLines)
	if lines := r.Summary(); len(lines) != maxLeftoverLines {
		t.Errorf("%q", lines)
	}
}
