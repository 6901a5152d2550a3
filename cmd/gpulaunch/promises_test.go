//go:build linux

package main

import (
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/gpulaunch/gpulaunch/launcher/launchertest"
)

func TestAFailureStopsTheOthers(t *testing.T) {
	j := launchertest.Start(t, nil, append([]string{"run", "--nproc-per-node=4"},
		launchertest.Worker("fail", "2", "3")...)...)
	code, stderr := j.Exit()
	if code != 3 || !strings.Contains(stderr, "rank 2") ||
		!strings.Contains(stderr, "exited with code 3") {
		t.Errorf("exit code %d, stderr:\n%s", code, stderr)
	}
	stdout, _ := j.Output()
	for _, m := range regexp.MustCompile(`ready (\d+)`).FindAllStringSubmatch(stdout, -1) {
		launchertest.Gone(t, m[1])
	}
}

func TestSignals(t *testing.T) {
	for _, sig := range []syscall.Signal{unix.SIGTERM, unix.SIGINT, unix.SIGHUP, unix.SIGQUIT} {
		t.Run(unix.SignalName(sig), func(t *testing.T) {
			j := launchertest.Start(t, nil, append([]string{"run", "--nproc-per-node=3"},
				launchertest.Worker("block")...)...)
			pids := j.Await(3, `ready (\d+)`)
			j.Signal(sig)
			if code, stderr := j.Exit(); code != 128+int(sig) {
				t.Errorf("exit code %d, want %d\n%s", code, 128+int(sig), stderr)
			}
			launchertest.Gone(t, pids...)
		})
	}
	t.Run("grace", func(t *testing.T) {
		j := launchertest.Start(t, nil, append([]string{"run", "--nproc-per-node=2", "--grace=0.1"},
			launchertest.Worker("ignore")...)...)
		pids := j.Await(2, `ready (\d+)`)
		j.Signal(unix.SIGTERM)
		if code, stderr := j.Exit(); code != 143 {
			t.Errorf("exit code %d\n%s", code, stderr)
		}
		launchertest.Gone(t, pids...)
	})
	t.Run("twice", func(t *testing.T) {
		// With a grace period longer than the test's patience, only the second
		// signal can end workers that ignore the first.
		j := launchertest.Start(t, nil, append([]string{"run", "--nproc-per-node=2", "--grace=1h"},
			launchertest.Worker("ignore")...)...)
		pids := j.Await(2, `ready (\d+)`)
		j.Signal(unix.SIGTERM)
		j.AwaitStderr("SIGTERM: stopping 2 workers")
		launchertest.AwaitSignalWindow()
		j.Signal(unix.SIGTERM)
		if code, stderr := j.Exit(); code != 143 {
			t.Errorf("exit code %d\n%s", code, stderr)
		}
		launchertest.Gone(t, pids...)
	})
	t.Run("passed on", func(t *testing.T) {
		j := launchertest.Start(t, nil, append([]string{"run", "--nproc-per-node=2"},
			launchertest.Worker("relay")...)...)
		j.Await(2, `ready`)
		for _, sig := range []syscall.Signal{unix.SIGUSR1, unix.SIGUSR2, unix.SIGWINCH,
			unix.SIGTERM} {
			j.Signal(sig)
			j.Await(2, "got "+unix.SignalName(sig))
		}
		if code, stderr := j.Exit(); code != 143 {
			t.Errorf("exit code %d\n%s", code, stderr)
		}
	})
}

// TestNobodyIsLeft kills the launcher's own processes.
func TestNobodyIsLeft(t *testing.T) {
	t.Run("supervisor killed", func(t *testing.T) {
		j := launchertest.Start(t, nil, append([]string{"run", "--nproc-per-node=2"},
			launchertest.Worker("ignore")...)...)
		pids := j.Await(2, `ready (\d+)`)
		if err := unix.Kill(j.Supervisor(), unix.SIGKILL); err != nil {
			t.Fatal(err)
		}
		if code, stderr := j.Exit(); code != 125 || !strings.Contains(stderr, "SIGKILL") {
			t.Errorf("exit code %d\n%s", code, stderr)
		}
		launchertest.Gone(t, pids...)
	})
	t.Run("supervisor crashed", func(t *testing.T) {
		// Go makes an exit code of SIGABRT, which must not pass for a worker's.
		j := launchertest.Start(t, nil, append([]string{"run", "--nproc-per-node=2"},
			launchertest.Worker("ignore")...)...)
		pids := j.Await(2, `ready (\d+)`)
		if err := unix.Kill(j.Supervisor(), unix.SIGABRT); err != nil {
			t.Fatal(err)
		}
		if code, stderr := j.Exit(); code != 125 ||
			!strings.Contains(stderr, "the supervisor crashed") {
			t.Errorf("exit code %d\n%s", code, stderr)
		}
		launchertest.Gone(t, pids...)
	})
	t.Run("keeper killed", func(t *testing.T) {
		j := launchertest.Start(t, nil, append([]string{"run", "--nproc-per-node=2"},
			launchertest.Worker("ignore")...)...)
		pids := j.Await(2, `ready (\d+)`)
		pids = append(pids, strconv.Itoa(j.Supervisor()))
		j.Signal(unix.SIGKILL)
		launchertest.Gone(t, pids...)
		if _, stderr := j.Exit(); !strings.Contains(stderr,
			"the launcher's first process is gone: stopping 2 workers at once") {
			t.Errorf("stderr:\n%s", stderr)
		}
	})
}

func TestRestarts(t *testing.T) {
	j := launchertest.Start(t, nil, append([]string{"run", "--nproc-per-node=2",
		"--max-restarts=3", "--restart-delay=0"}, launchertest.Worker("succeed-after", "2")...)...)
	if code, stderr := j.Exit(); code != 0 {
		t.Errorf("exit code %d\n%s", code, stderr)
	}
	stdout, _ := j.Output()
	ports := map[string]map[string]bool{}
	for _, m := range regexp.MustCompile(`attempt (\d) port (\d+)`).FindAllStringSubmatch(stdout,
		-1) {
		if ports[m[1]] == nil {
			ports[m[1]] = map[string]bool{}
		}
		ports[m[1]][m[2]] = true
	}
	all := map[string]bool{}
	for attempt, set := range ports {
		if len(set) != 1 {
			t.Errorf("attempt %s has the ports %v, want one for all", attempt, set)
		}
		for port := range set {
			all[port] = true
		}
	}
	if len(ports) != 3 || len(all) != 3 {
		t.Errorf("%d attempts with %d ports, want 3 with 3:\n%s", len(ports), len(all), stdout)
	}
}

func TestOutputAndInput(t *testing.T) {
	// A prefix before each line, also before the last one, which has no end.
	j := launchertest.Start(t, nil, append([]string{"run", "--nproc-per-node=1", "--output=prefix",
		"-q"}, launchertest.Worker("print", "a\nb\r\n\nc", "d")...)...)
	code, stderr := j.Exit()
	stdout, _ := j.Output()
	if code != 0 || stdout != "[0] a\n[0] b\n[0] \n[0] c\n" || stderr != "[0] d\n" {
		t.Errorf("exit code %d, stdout %q, stderr %q", code, stdout, stderr)
	}
	// One worker inherits, unless told otherwise.
	j = launchertest.Start(t, nil, append([]string{"run", "--nproc-per-node=1", "-q"},
		launchertest.Worker("print", "a\nb", "d")...)...)
	_, stderr = j.Exit()
	if stdout, _ := j.Output(); stdout != "a\nb\n" || stderr != "d" {
		t.Errorf("inherited: stdout %q, stderr %q", stdout, stderr)
	}

	j = launchertest.StartWithInput(t, strings.NewReader("to rank 0"), nil,
		append([]string{"run", "--nproc-per-node=2", "--stdin=rank0"},
			launchertest.Worker("report")...)...)
	j.Await(1, `^\[0\] report .*"Stdin":"to rank 0"`)
	j.Exit()
	stdout, _ = j.Output()
	if !regexp.MustCompile(`(?m)^\[1\] report .*"Stdin":""`).MatchString(stdout) {
		t.Errorf("rank 1 read something:\n%s", stdout)
	}
}
