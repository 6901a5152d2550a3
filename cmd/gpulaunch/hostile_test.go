//go:build linux

package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/gpulaunch/gpulaunch/gpu/nvml/nvmltest"
	"github.com/gpulaunch/gpulaunch/launcher/launchertest"
)

// endless is a worker that prints without end.
var endless = []string{"--", "sh", "-c", "while echo y; do :; done"}

func TestReaderLeaves(t *testing.T) {
	argv := []string{"sh", "-c", `{ "$@"; echo "code $?" >&2; } | head -n 3`, "sh"}
	j := launchertest.StartCommand(t, nil, nil,
		append(argv, job(append([]string{"--nproc-per-node=2"}, endless...)...)...)...)
	_, stderr := j.Exit()
	if !strings.Contains(stderr, "the workers' output cannot be written (broken pipe)") ||
		!strings.HasSuffix(stderr, "code 141\n") {
		t.Errorf("stderr:\n%s", stderr)
	}
}

// A job that is refused in its first milliseconds has its own exit code, also if nobody reads
// why: the supervisor has subscribed to SIGPIPE before it writes.
func TestReaderHasLeft(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	r.Close()
	for range 50 {
		argv := job("--nproc-per-node=1", "/no/such/program")
		cmd := exec.Command(argv[0], argv[1:]...)
		cmd.Stdout, cmd.Stderr = w, w
		if err := cmd.Run(); cmd.ProcessState.ExitCode() != 127 {
			t.Fatalf("it ended with %v, want exit code 127", err)
		}
	}
}

func TestDiskIsFull(t *testing.T) {
	argv := []string{"sh", "-c", `exec "$@" >/dev/full`, "sh"}
	j := launchertest.StartCommand(t, nil, nil,
		append(argv, job(append([]string{"--nproc-per-node=2"}, endless...)...)...)...)
	if code, stderr := j.Exit(); code != 125 ||
		!strings.Contains(stderr, "no space left on device") {
		t.Errorf("exit code %d\n%s", code, stderr)
	}
}

// TestProcessLimit has fewer processes allowed than workers are wanted.
func TestProcessLimit(t *testing.T) {
	argv := append(limitPIDs(t, 100), // threads count as well
		job("--nproc-per-node=200", "--output=inherit", "--", "sh", "-c", "exec sleep 1000")...)
	j := launchertest.StartCommand(t, nil, nil, argv...)
	code, stderr := j.Exit()
	if code != 125 || !strings.Contains(stderr, "pids.max") {
		t.Errorf("exit code %d\n%s", code, stderr)
	}
}

// needMounts skips a test where nothing can be mounted in a namespace.
func needMounts(t *testing.T) {
	t.Helper()
	out, err := exec.Command("unshare", "-rm", "mount", "-t", "tmpfs", "none",
		t.TempDir()).CombinedOutput()
	if err != nil {
		nvmltest.Unavailable(t, fmt.Sprintf("nothing can be mounted here: %v: %s", err, out))
	}
}

// TestReportOnFullDisk has a worker that fills the disk on which the report is to be. That the
// report is lost is said in one line, whether or not the job has failed as well.
func TestReportOnFullDisk(t *testing.T) {
	needMounts(t)
	for _, c := range []struct {
		fill, end  string
		code       int
		said, when string
	}{
		{"true", "exit 3", 3, "", "a disk with room"},
		{"head -c 1M /dev/zero >fill", "exit 3", 3, "no space left on device", "a failed job"},
		{"head -c 1M /dev/zero >fill", "exit 0", 125, "no space left on device", "a good job"},
		{"head -c 1M /dev/zero >fill", "kill -9 $$", 137, "no space left on device",
			"a killed worker"},
	} {
		dir := t.TempDir()
		j := launchertest.StartCommand(t, nil, nil, "unshare", "-rm", "sh", "-c",
			`mount -t tmpfs -o size=256k none "$0" && cd "$0" && exec "$@"`, dir,
			launchertest.Binary, "run", "-q", "--metrics-address=off", "--nproc-per-node=1",
			"--report=report.json", "--", "sh", "-c", c.fill+" 2>/dev/null; "+c.end)
		code, stderr := j.Exit()
		line := `gpulaunch: cannot write the report to "report.json" (` + c.said + ")"
		if n := strings.Count(stderr, line); code != c.code || (n == 1) != (c.said != "") {
			t.Errorf("%s: exit code %d, want %d, and the line %d times\n%s", c.when, code, c.code,
				n, stderr)
		}
	}
}

// TestReportAtStartOnFullDisk starts nothing if there is no room for the report.
func TestReportAtStartOnFullDisk(t *testing.T) {
	needMounts(t)
	j := launchertest.StartCommand(t, nil, nil, "unshare", "-rm", "sh", "-c",
		`mount -t tmpfs -o size=256k none "$0" && cd "$0"; head -c 1M /dev/zero 2>/dev/null >fill
		exec "$@"`, t.TempDir(),
		launchertest.Binary, "run", "-q", "--metrics-address=off", "--nproc-per-node=1",
		"--report=report.json", "--", "echo", "started")
	code, stderr := j.Exit()
	if stdout, _ := j.Output(); code != 125 || stdout != "" ||
		!strings.Contains(stderr, "no space left on device") {
		t.Errorf("exit code %d, stdout %q\n%s", code, stdout, stderr)
	}
}

// TestNamesOfLeftovers has processes whose names are escape sequences for a terminal. They are
// escaped wherever they are named: by the keeper, by the supervisor and in the report.
func TestNamesOfLeftovers(t *testing.T) {
	const (
		child   = `printf '\033[31m\233\n\177' >/proc/self/comm; echo ready $$; read line <"$GATE"`
		orphan  = `setsid sh -c "$CHILD" & `
		escaped = `(\x1b[31m\x9b \x7f)`
	)
	for name, c := range map[string]struct {
		script string
		code   int
		end    func(j *launchertest.Job)
		said   string
	}{
		"the supervisor was killed": {orphan + `wait`, 125, func(j *launchertest.Job) {
			if err := unix.Kill(j.Supervisor(), unix.SIGKILL); err != nil {
				t.Error(err)
			}
		}, "the supervisor terminated with signal SIGKILL; killed "},
		"an orphan is left": {`trap "exit 0" TERM; ` + orphan + `wait`, 143,
			func(j *launchertest.Job) { j.Signal(unix.SIGTERM) }, "that workers left behind"},
	} {
		t.Run(name, func(t *testing.T) {
			gate, path := filepath.Join(t.TempDir(), "gate"), filepath.Join(t.TempDir(), "report")
			if err := unix.Mkfifo(gate, 0o600); err != nil {
				t.Fatal(err)
			}
			j := launchertest.Start(t, []string{"GATE=" + gate, "CHILD=trap '' TERM; " + child},
				"run", "--nproc-per-node=1", "--grace=0.1", "--report="+path, "--", "sh", "-c",
				c.script)
			pids := j.Await(1, `ready (\d+)`)
			c.end(j)
			code, stderr := j.Exit()
			if code != c.code || !strings.Contains(stderr, c.said) ||
				!strings.Contains(stderr, escaped) || strings.ContainsAny(stderr, "\x1b\x7f") ||
				strings.Contains(stderr, "\x9b") {
				t.Errorf("exit code %d\n%q", code, stderr)
			}
			if text, err := os.ReadFile(path); err == nil &&
				strings.ContainsAny(string(text), "\x1b\x7f") {
				t.Errorf("the report has %q", text)
			}
			launchertest.Gone(t, pids...)
		})
	}
}
