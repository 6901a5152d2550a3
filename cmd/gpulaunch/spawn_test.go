//go:build linux

package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/gpulaunch/gpulaunch/gpu/nvml/nvmltest"
	"github.com/gpulaunch/gpulaunch/launcher/launchertest"
	"github.com/gpulaunch/gpulaunch/launcher/report"
)

const spawnScript = "../../launcher/testdata/spawn.py"

// startMethods has each test of what both must do.
func startMethods(t *testing.T, test func(t *testing.T, python, method string)) {
	python := launchertest.Python(t)
	for _, method := range []string{"exec", "forkserver"} {
		t.Run(method, func(t *testing.T) { test(t, python, method) })
	}
}

// startSpawn starts workers of testdata/spawn.py.
func startSpawn(t *testing.T, python, method string, flags []string,
	mode ...string) *launchertest.Job {
	t.Helper()
	args := append([]string{"run", "--start-method=" + method}, flags...)
	return launchertest.Start(t, []string{"PYTHON_EXEC=" + python},
		append(append(args, spawnScript), mode...)...)
}

func TestExitCodesOfStartMethods(t *testing.T) {
	startMethods(t, func(t *testing.T, python, method string) {
		for _, c := range []struct {
			mode []string
			code int
			says string
		}{
			{[]string{"nothing"}, 0, ""},
			{[]string{"exit-one", "0", "12"}, 12, "exited with code 12"},
			{[]string{"exit-one", "1", "123"}, 123, "exited with code 123"},
			{[]string{"abort", "0"}, 134, "terminated with signal SIGABRT"},
			{[]string{"raise-one", "1"}, 1, "ValueError: legitimate exception from process 1"},
		} {
			j := startSpawn(t, python, method, []string{"--nproc-per-node=2"}, c.mode...)
			if code, stderr := j.Exit(); code != c.code || !strings.Contains(stderr, c.says) {
				t.Errorf("%q: exit code %d, want %d; %q has to be in:\n%s", c.mode, code, c.code,
					c.says, stderr)
			}
		}
	})
}

// readReport reads what --report wrote.
func readReport(t *testing.T, path string) (r report.Report) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err == nil {
		err = json.Unmarshal(text, &r)
	}
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestReport(t *testing.T) {
	startMethods(t, func(t *testing.T, python, method string) {
		path := filepath.Join(t.TempDir(), "report.json")
		j := startSpawn(t, python, method, []string{"--nproc-per-node=3", "--report=" + path},
			"raise-one", "1")
		_, stderr := j.Exit()
		r := readReport(t, path)
		if r.ExitCode != 1 || r.StartMethod != method || r.WorldSize != 3 || len(r.Workers) != 3 ||
			!strings.HasPrefix(r.Launcher, "gpulaunch ") {
			t.Fatalf("%+v", r)
		}
		root := r.Workers[0]
		if !root.RootCause || root.Rank != 1 || root.How != report.ByItself || root.Raised == nil ||
			root.Raised.Time.IsZero() {
			t.Errorf("the first is %+v", root)
		}
		if last := root.LastStderr[len(root.LastStderr)-1]; last != "ValueError: legitimate "+
			"exception from process 1" {
			t.Errorf("the last line of its standard error is %q", last)
		}
		for _, w := range r.Workers[1:] {
			if w.RootCause || w.How != report.ByLauncher || w.Signal != "SIGTERM" || w.Code != 143 {
				t.Errorf("another is %+v", w)
			}
		}
		cause, other := strings.Index(stderr, "Root cause: rank 1 of 3"),
			strings.Index(stderr, "Other workers")
		if cause < 0 || other < cause || !strings.Contains(stderr[cause:other],
			"ValueError: legitimate exception from process 1") {
			t.Errorf("the table:\n%s", stderr)
		}
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%v, %v", info.Mode(), err)
		}
	})
}

func TestReportOfOtherEnds(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "report.json")
	flag := "--report=" + path

	j := launchertest.Start(t, nil,
		append([]string{"run", flag}, launchertest.Worker("print", "", "")...)...)
	if code, stderr := j.Exit(); code != 0 || strings.Contains(stderr, "Root cause") {
		t.Errorf("exit code %d\n%s", code, stderr)
	}
	if r := readReport(t, path); r.ExitCode != 0 || r.Workers[0].How != report.Success {
		t.Errorf("success: %+v", r)
	}

	j = launchertest.Start(t, nil, "run", flag, "no-such-program")
	if code, _ := j.Exit(); code != 127 {
		t.Errorf("exit code %d", code)
	}
	if r := readReport(t, path); r.ExitCode != 127 ||
		!strings.Contains(r.Error, "no-such-program") {
		t.Errorf("nothing started: %+v", r)
	}

	j = launchertest.Start(t, nil,
		append([]string{"run", flag}, launchertest.Worker("block")...)...)
	j.Await(1, "ready")
	j.Signal(unix.SIGTERM)
	j.Exit()
	if r := readReport(t, path); r.ExitCode != 143 || r.Signal != "SIGTERM" ||
		r.Workers[0].How != report.ByLauncher {
		t.Errorf("stopped: %+v", r)
	}

	j = launchertest.Start(t, nil, append([]string{"run", flag, "--max-restarts=1",
		"--restart-delay=0", "--nproc-per-node=2"}, launchertest.Worker("fail", "1", "9")...)...)
	j.Exit()
	if r := readReport(t, path); r.Restarts != 1 || len(r.Earlier) != 1 || r.Earlier[0].Code != 9 ||
		r.Earlier[0].PID == r.Workers[0].PID {
		t.Errorf("restarted: %+v", r)
	}

	// That it cannot be written is known before anything is started.
	j = launchertest.Start(t, nil,
		append([]string{"run", "--report=" + filepath.Join(dir, "none", "r.json")},
			launchertest.Worker("block")...)...)
	if code, stderr := j.Exit(); code != 125 || strings.Count(stderr, "\n") != 1 ||
		!strings.Contains(stderr, filepath.Join(dir, "none")) {
		t.Errorf("exit code %d\n%s", code, stderr)
	}
}

// TestKilledFromOutside has somebody else end a worker.
func TestKilledFromOutside(t *testing.T) {
	path := filepath.Join(t.TempDir(), "report.json")
	j := launchertest.Start(t, nil, append([]string{"run", "--nproc-per-node=2", "--report=" +
		path}, launchertest.Worker("block")...)...)
	pid, _ := strconv.Atoi(j.Await(2, `ready (\d+)`)[1])
	if err := unix.Kill(pid, unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if code, stderr := j.Exit(); code != 137 || !strings.Contains(stderr, "killed from outside") {
		t.Errorf("exit code %d\n%s", code, stderr)
	}
	if r := readReport(t, path); r.Workers[0].How != report.FromOutside || r.Workers[0].PID != pid {
		t.Errorf("%+v", r.Workers)
	}
}

// TestOutOfMemory gives a job a memory limit that one worker exceeds.
func TestOutOfMemory(t *testing.T) {
	python := launchertest.Python(t)
	group := fmt.Sprintf("/sys/fs/cgroup/memory/gpulaunch-test-%d", os.Getpid())
	if err := os.Mkdir(group, 0o755); err != nil {
		nvmltest.Unavailable(t, "no memory controller of cgroup v1 can be written: "+err.Error())
	}
	defer os.Remove(group)
	if err := os.WriteFile(group+"/memory.limit_in_bytes", []byte("96M"), 0); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "report.json")
	fill := "import os, signal\nif os.environ['RANK'] == '0': signal.pause()\nx = []\nwhile " +
		"True: x.append(bytearray(1 << 20))"
	j := launchertest.StartCommand(t, nil, nil, "sh", "-c",
		`echo $$ > "$0/cgroup.procs"; exec "$@"`, group, launchertest.Binary,
		"run", "--metrics-address=off", "--nproc-per-node=2", "--report="+path, "--", python, "-c",
		fill)
	if code, stderr := j.Exit(); code != 137 || !strings.Contains(stderr, "out of memory") {
		t.Errorf("exit code %d\n%s", code, stderr)
	}
	if r := readReport(t, path); r.Workers[0].How != report.OutOfMemory || r.Workers[0].Rank != 1 {
		t.Errorf("%+v", r.Workers)
	}
}

// TestHostileErrorFiles has workers leave what is no error file. They fail, and
// that is all that happens.
func TestHostileErrorFiles(t *testing.T) {
	for kind, command := range map[string]string{
		"named pipe":    `mkfifo "$TORCHELASTIC_ERROR_FILE"`,
		"symbolic link": `ln -s /etc/passwd "$TORCHELASTIC_ERROR_FILE"`,
		"folder":        `mkdir "$TORCHELASTIC_ERROR_FILE"`,
		"JSON":          `echo "{" > "$TORCHELASTIC_ERROR_FILE"`,
		"1 MiB":         `truncate -s 2G "$TORCHELASTIC_ERROR_FILE"`,
	} {
		j := launchertest.Start(t, nil, "run", "--nproc-per-node=2", "--", "sh", "-c",
			command+`; printf 'last \033[31mwords\n' >&2; exit 3`)
		code, stderr := j.Exit()
		table := stderr[max(0, strings.Index(stderr, "Root cause")):]
		if code != 3 || !strings.Contains(table, kind) ||
			!strings.Contains(table, `last \x1b[31mwords`) || strings.Contains(table, "\x1b") {
			t.Errorf("%s: exit code %d\n%q", kind, code, stderr)
		}
	}
}

// TestRecord runs a real PyTorch script that is decorated with @record.
func TestRecord(t *testing.T) {
	python := launchertest.Python(t, "torch.distributed.elastic.multiprocessing.errors")
	for _, flags := range [][]string{{"--start-method=exec"}, {"--start-method=forkserver",
		"--preload=torch.distributed.elastic.multiprocessing.errors"}} {
		t.Run(flags[0], func(t *testing.T) {
			args := append(append([]string{"run", "--nproc-per-node=4"}, flags...),
				"../../launcher/testdata/recorded.py", "1")
			j := launchertest.Start(t, []string{"PYTHON_EXEC=" + python}, args...)
			code, stderr := j.Exit()
			table := stderr[max(0, strings.Index(stderr, "Root cause: rank 1 of 4")):]
			for _, want := range []string{"in second", "in first",
				"RuntimeError: rank 1 found no data"} {
				if code != 1 || !strings.Contains(table, want) {
					t.Errorf("exit code %d, no %q in the report:\n%s", code, want, stderr)
				}
			}
		})
	}
}

func TestForkserverMistakes(t *testing.T) {
	python := launchertest.Python(t)
	for says, args := range map[string][]string{
		`cannot import no_such_module: ModuleNotFoundError`: {"--start-method=forkserver",
			"--preload=no_such_module", spawnScript, "nothing"},
		"--start-method=exec": {"--start-method=forkserver", "--",
			"sh", "-c", "true"},
		"needs --start-method=forkserver": {"--preload=torch", spawnScript,
			"nothing"},
		`"fork" is not a start method`: {"--start-method=fork", spawnScript,
			"nothing"},
	} {
		j := launchertest.Start(t, []string{"PYTHON_EXEC=" + python},
			append([]string{"run", "-q"}, args...)...)
		if code, stderr := j.Exit(); code != 125 || !strings.Contains(stderr, says) ||
			strings.Count(stderr, "gpulaunch: ") != 1 {
			t.Errorf("exit code %d, want 125 and one line with %q:\n%s", code, says, stderr)
		}
	}
}

// templateOf finds the template process among the supervisor's children.
func templateOf(t *testing.T, j *launchertest.Job, workers ...string) string {
	t.Helper()
	for _, child := range launchertest.Children(j.Supervisor()) {
		pid := strconv.Itoa(child)
		argv, _ := os.ReadFile("/proc/" + pid + "/cmdline")
		if !slices.Contains(workers, pid) && strings.Contains(string(argv), "spawn.py") {
			return pid
		}
	}
	t.Fatal("the supervisor has no template process")
	return ""
}

// TestForkserverEnds ends parts of a job whose workers were forked.
func TestForkserverEnds(t *testing.T) {
	python := launchertest.Python(t)
	for name, c := range map[string]struct {
		end  func(t *testing.T, j *launchertest.Job, template int)
		code int
		says string
	}{
		"template killed": {func(t *testing.T, j *launchertest.Job, template int) {
			_ = unix.Kill(template, unix.SIGKILL)
		},
			125, "the template process that the workers were forked from"},
		"stopped": {func(t *testing.T, j *launchertest.Job, _ int) {
			j.Signal(unix.SIGTERM)
		}, 143, "SIGTERM: stopping 2 workers"},
		"supervisor killed": {func(t *testing.T, j *launchertest.Job, _ int) {
			_ = unix.Kill(j.Supervisor(), unix.SIGKILL)
		}, 125, "SIGKILL"},
		"keeper killed": {func(t *testing.T, j *launchertest.Job, _ int) { j.Signal(unix.SIGKILL) },
			-1, "the launcher's first process is gone"},
	} {
		t.Run(name, func(t *testing.T) {
			j := startSpawn(t, python, "forkserver", []string{"--nproc-per-node=2"}, "raise-one",
				"-1")
			pids := j.Await(2, `ready (\d+)`)
			template := templateOf(t, j, pids...)
			pid, _ := strconv.Atoi(template)
			c.end(t, j, pid)
			code, stderr := j.Exit()
			if code != c.code || !strings.Contains(stderr, c.says) {
				t.Errorf("exit code %d, want %d with %q:\n%s", code, c.code, c.says, stderr)
			}
			launchertest.Gone(t, append(pids, template)...)
		})
	}
}

// TestForkserverStopsWhileImporting has a user who will not wait for the imports.
func TestForkserverStopsWhileImporting(t *testing.T) {
	env := []string{"PYTHON_EXEC=" + launchertest.Python(t), "SLOW_IMPORT_SECONDS=3600",
		"SLOW_IMPORT_COUNT=" + filepath.Join(t.TempDir(), "count")}
	j := launchertest.Start(t, env, "run", "--start-method=forkserver", "--preload=slow_import",
		"--nproc-per-node=2", spawnScript, "nothing")
	j.AwaitStderr("importing slow_import once for all workers")
	template := templateOf(t, j)
	j.Signal(unix.SIGINT)
	if code, stderr := j.Exit(); code != 130 {
		t.Errorf("exit code %d\n%s", code, stderr)
	}
	launchertest.Gone(t, template)
}

// TestForkserverRestarts restarts from the same template.
func TestForkserverRestarts(t *testing.T) {
	count := filepath.Join(t.TempDir(), "count")
	path := filepath.Join(t.TempDir(), "report.json")
	env := []string{"PYTHON_EXEC=" + launchertest.Python(t), "SLOW_IMPORT_SECONDS=0",
		"SLOW_IMPORT_COUNT=" + count}
	j := launchertest.Start(t, env, "run", "--start-method=forkserver", "--preload=slow_import",
		"--nproc-per-node=2", "--max-restarts=2", "--restart-delay=0",
		"--report="+path, spawnScript, "succeed-after", "2")
	code, stderr := j.Exit()
	stdout, _ := j.Output()
	if imports, err := os.ReadFile(count); code != 0 || err != nil || string(imports) != "x" ||
		strings.Count(stdout, "imported 1 pid") < 4 {
		t.Errorf("exit code %d, %q imports (%v)\n%s%s", code, imports, err, stdout, stderr)
	}
	if r := readReport(t, path); r.Restarts != 2 || r.Template == nil ||
		r.Template.Modules[0] != "slow_import" || r.Template.SharedBytes == 0 {
		t.Errorf("%+v", r)
	}
}

// TestForkserverHangs stops the template, so that a restart cannot fork. Neither
// signals nor the end of the launcher may depend on it.
func TestForkserverHangs(t *testing.T) {
	python := launchertest.Python(t)
	for name, end := range map[string]func(j *launchertest.Job){
		"stopped":       func(j *launchertest.Job) { j.Signal(unix.SIGTERM) },
		"keeper killed": func(j *launchertest.Job) { j.Signal(unix.SIGKILL) },
	} {
		t.Run(name, func(t *testing.T) {
			j := startSpawn(t, python, "forkserver", []string{"--nproc-per-node=2",
				"--max-restarts=1", "--restart-delay=0", "--grace=0.5"}, "raise-one", "-1")
			pids := j.Await(2, `ready (\d+)`)
			template := templateOf(t, j, pids...)
			pid, _ := strconv.Atoi(template)
			worker, _ := strconv.Atoi(pids[0])
			_ = unix.Kill(pid, unix.SIGSTOP)
			_ = unix.Kill(worker, unix.SIGKILL)
			j.AwaitStderr("restarting all workers")
			end(j)
			if code, stderr := j.Exit(); code != 143 && code != -1 {
				t.Errorf("exit code %d\n%s", code, stderr)
			}
			launchertest.Gone(t, append(pids, template)...)
		})
	}
}
