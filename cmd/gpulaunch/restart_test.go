//go:build linux

package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/gpulaunch/gpulaunch/launcher/launchertest"
)

// TestStopDuringRestartDelay stops a job that would wait for an hour before its restart.
func TestStopDuringRestartDelay(t *testing.T) {
	path := filepath.Join(t.TempDir(), "report.json")
	j := launchertest.Start(t, nil, "run", "--nproc-per-node=1", "--max-restarts=3",
		"--restart-delay=1h", "--report="+path, "--", "sh", "-c", "exit 9")
	j.AwaitStderr("restarting all workers in 1h0m0s (1 of 3 restarts)")
	j.Signal(unix.SIGTERM)
	code, stderr := j.Exit()
	if code != 9 || !strings.Contains(stderr, "SIGTERM: the workers are not restarted") {
		t.Errorf("exit code %d\n%s", code, stderr)
	}
	if r := readReport(t, path); r.ExitCode != 9 || r.Signal != "SIGTERM" || r.Restarts != 0 ||
		r.RestartDelaySeconds <= 0 {
		t.Errorf("%+v", r)
	}
}

func TestRestartDelayFlags(t *testing.T) {
	for _, c := range []struct {
		flags string
		code  int
		want  string
	}{
		{"--restart-delay=0.01 --restart-max-delay=0.02", 7, "restarting all workers in 20ms"},
		{"--restart-delay=0", 7, "restarting all workers (2 of 2"},
		{"--restart-delay=2m --restart-max-delay=1m", 125,
			"--restart-delay=2m is longer than --restart-max-delay=1m"},
		{"--restart-delay=-1s", 125, "is not a duration"},
	} {
		args := append([]string{"run", "--nproc-per-node=1", "--max-restarts=2"},
			append(strings.Fields(c.flags), "--", "sh", "-c", "exit 7")...)
		j := launchertest.Start(t, nil, args...)
		if code, stderr := j.Exit(); code != c.code || !strings.Contains(stderr, c.want) {
			t.Errorf("%s: exit code %d\n%s", c.flags, code, stderr)
		}
	}
}

// longTraceback is a worker's shell script that leaves an error file of 0.9 MB.
const longTraceback = `{
	printf '{"message":{"message":"x","extraInfo":{"py_callstack":"'
	head -c 900000 /dev/zero | tr '\0' x
	printf '"}}}'
} >"$TORCHELASTIC_ERROR_FILE"
exit 3`

// TestReportOfManyRestarts has a worker that leaves a long traceback each time.
func TestReportOfManyRestarts(t *testing.T) {
	const restarts = 60
	path := filepath.Join(t.TempDir(), "report.json")
	j := launchertest.Start(t, nil, "run", "--nproc-per-node=1", "--max-restarts=60",
		"--restart-delay=0", "--report="+path, "--", "sh", "-c", longTraceback)
	if code, stderr := j.Exit(); code != 3 {
		t.Fatalf("exit code %d\n%s", code, stderr)
	}
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	r := readReport(t, path)
	if n := len(r.Earlier); info.Size() > 4<<20 || r.Restarts != restarts ||
		n+r.EarlierLeftOut != restarts || r.Earlier[n-1].Attempt != restarts-1 {
		t.Errorf("the report has %d bytes, %d restarts, %d earlier failures and %d left out",
			info.Size(), r.Restarts, n, r.EarlierLeftOut)
	}
	for i, raised := range []int{len(r.Earlier[0].Raised.Traceback),
		len(r.Earlier[len(r.Earlier)-1].Raised.Traceback), len(r.Root().Raised.Traceback)} {
		if raised != 900000 {
			t.Errorf("traceback %d of 3 has %d bytes, want it whole", i, raised)
		}
	}
}

// TestReportOfManyWorkers has workers that all leave a long traceback in the same attempt.
func TestReportOfManyWorkers(t *testing.T) {
	path, gate := filepath.Join(t.TempDir(), "report.json"), filepath.Join(t.TempDir(), "gate")
	if err := unix.Mkfifo(gate, 0o600); err != nil {
		t.Fatal(err)
	}
	j := launchertest.Start(t, []string{"GATE=" + gate}, "run", "--nproc-per-node=24",
		"--failure-wait=1h", "--report="+path, "--", "sh", "-c",
		`echo ready; read line <"$GATE"; `+longTraceback)
	j.Await(24, "ready") // a worker that fails while others are being started stops them
	f, err := os.OpenFile(gate, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteString(strings.Repeat("\n", 24)); err != nil {
		t.Fatal(err)
	}
	if code, stderr := j.Exit(); code != 3 {
		t.Fatalf("exit code %d\n%s", code, stderr)
	}
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	r := readReport(t, path)
	whole := 0
	for _, w := range r.Workers {
		if w.Raised == nil || len(w.Raised.Traceback) < 8000 {
			t.Fatalf("a worker has the error %.100v", w.Raised)
		}
		if len(w.Raised.Traceback) == 900000 {
			whole++
		}
	}
	if info.Size() > 11<<20 || len(r.Root().Raised.Traceback) != 900000 || whole != 10 {
		t.Errorf("the report has %d bytes and %d whole tracebacks, want 10", info.Size(), whole)
	}
}
