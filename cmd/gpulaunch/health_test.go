//go:build linux

package main

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/gpulaunch/gpulaunch/gpu/nvml/nvmltest"
	"github.com/gpulaunch/gpulaunch/launcher/launchertest"
)

// two is a machine with two GPUs.
func two(t *testing.T) nvmltest.Machine {
	mask := words(launchertest.AllowedCPUs(t))
	m := nvmltest.EightGPUs(mask, mask)
	m.Devices = m.Devices[:2]
	return m
}

// occupied is a machine on whose first GPU this very process computes.
func occupied(m nvmltest.Machine) nvmltest.Machine {
	return m.WithDevice(0, func(d *nvmltest.Device) {
		d.Processes = []nvmltest.Process{{PID: uint32(os.Getpid()), Used: 3 << 30,
			GPUInstance: nvmltest.NoInstance, ComputeInstance: nvmltest.NoInstance,
			Name: "/usr/bin/python3 --secret"}}
	})
}

// sick is a machine whose first GPU has had memory errors.
func sick(m nvmltest.Machine) nvmltest.Machine {
	return m.WithDevice(0,
		func(d *nvmltest.Device) { d.Health.ECC = &nvmltest.ECC{VolatileUncorrected: 3} })
}

// holding starts a job whose workers say "ready" and end when the test lets them:
// rank 1 with code 7, the others with 0.
func holding(t *testing.T, workers int, args ...string) (j *launchertest.Job, release func()) {
	t.Helper()
	return holdingWith(t, nil, workers, args...)
}

// holdingWith is holding with variables.
func holdingWith(t *testing.T, env []string, workers int, args ...string) (j *launchertest.Job,
	release func()) {
	t.Helper()
	fifo := filepath.Join(t.TempDir(), "fifo")
	if err := unix.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(fifo, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	args = append([]string{"run"}, args...)
	const worker = `echo ready $$; read x < "$0"; test "$RANK" != 1 || exit 7`
	j = launchertest.Start(t, env, append(args, "--output=prefix", "--", "sh", "-c", worker,
		fifo)...)
	return j, func() {
		t.Helper()
		if _, err := f.WriteString(strings.Repeat("\n", workers)); err != nil {
			t.Fatal(err)
		}
	}
}

// ended runs a command to its end.
func ended(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	j := launchertest.Start(t, nil, args...)
	code, stderr = j.Exit()
	stdout, _ = j.Output()
	return code, stdout, stderr
}

// TestFailWithoutAccess: with --health=fail a job does not start with fewer workers because a GPU
// cannot be opened.
func TestFailWithoutAccess(t *testing.T) {
	unopened := func(code int) nvmltest.Machine {
		return two(t).With(nvmltest.Fail(code).InDevice("nvmlDeviceGetHandleByIndex*", 1))
	}
	for name, m := range map[string]nvmltest.Machine{
		"power cables not attached properly (code 8)": unopened(8),
		"interrupt problem with a GPU (code 11)":      unopened(11),
		"unknown error (code 999)":                    unopened(999),
		"no permission (code 4)":                      unopened(4),
		"MIG is enabled but no instance exists": two(t).MIG(1).WithDevice(1,
			func(d *nvmltest.Device) { d.Instances = nil }),
	} {
		t.Run(name, func(t *testing.T) {
			library := nvmltest.Install(t, m)
			for mode, workers := range map[string]int{"fail": 0, "warn": 1} {
				code, stdout, stderr := ended(t, append([]string{"run", "--nvml-library=" + library,
					"--health=" + mode}, launchertest.Worker("report")...)...)
				if n := strings.Count(stdout, "report {"); n != workers ||
					(code == 125) != (workers == 0) || !strings.Contains(stderr, name) {
					t.Errorf("%s: exit code %d and %d workers\n%s", mode, code, n, stderr)
				}
			}
		})
	}
}

// remapping is a machine whose first GPU waits for a reset to replace a memory row.
func remapping(m nvmltest.Machine) nvmltest.Machine {
	return m.WithDevice(0, func(d *nvmltest.Device) {
		d.Health.RemappedRows = &nvmltest.RemappedRows{Uncorrected: 1, Pending: true}
	})
}

func TestHealthAndBusyModes(t *testing.T) {
	const ecc, busy = "3 uncorrectable memory errors", `in use by process \d+ \(.*3.0 GiB\)`
	for name, c := range map[string]struct {
		machine nvmltest.Machine
		flag    string
		code    int
		said    string // "" for nothing
		workers int
	}{
		"health warn": {sick(two(t)), "--health=warn", 0, `warning: GPU 0 \(0000:1b:00.0\): ` +
			ecc + `.*nvidia-smi`, 2},
		"health skip": {sick(two(t)), "--health=skip", 0, `warning: GPU 0 .* is left out: ` + ecc,
			1},
		"health fail": {sick(two(t)), "--health=fail", 125,
			`nothing is started, because of --health=fail: GPU 0 .*` + ecc, 0},
		"health off": {sick(two(t)), "--health=off", 0, "", 2},
		"healthy":    {two(t), "--health=fail", 0, "", 2},
		"remap pending, skip": {remapping(two(t)), "--health=skip", 0,
			`warning: GPU 0 .*waits to be remapped.*may go on taking work`, 2},
		"remap pending, fail": {remapping(two(t)), "--health=fail", 0,
			`warning: GPU 0 .*waits to be remapped.*may go on taking work`, 2},
		"busy warn": {occupied(two(t)), "--busy=warn", 0, `warning: GPU 0 \(0000:1b:00.0\) is ` +
			busy, 2},
		"busy skip": {occupied(two(t)), "--busy=skip", 0, `warning: GPU 0 .* is left out: ` +
			busy, 1},
		"busy fail": {occupied(two(t)), "--busy=fail", 125,
			`nothing is started, because of --busy=fail: GPU 0 .* is ` + busy, 0},
		"free":       {two(t), "--busy=fail", 0, "", 2},
		"free, wait": {two(t), "--busy=wait", 0, "", 2},
	} {
		t.Run(name, func(t *testing.T) {
			library := nvmltest.Install(t, c.machine)
			code, stdout,
				stderr := ended(t, append([]string{"run", "-q", "--nvml-library=" + library,
				c.flag}, launchertest.Worker("report")...)...)
			if n := strings.Count(stdout, "report {"); code != c.code || n != c.workers {
				t.Errorf("exit code %d and %d workers, want %d and %d\n%s", code, n, c.code,
					c.workers, stderr)
			}
			if c.said == "" && stderr != "" || !regexp.MustCompile(c.said).MatchString(stderr) ||
				strings.Contains(stderr, "secret") {
				t.Errorf("want %q in %q", c.said, stderr)
			}
			// A plan shows the same, as far as it comes.
			code, stdout, stderr = ended(t, "plan", "--nvml-library="+library, c.flag)
			said := strings.Replace(c.said, "warning: ", "warning   ", 1)
			if code != c.code || !regexp.MustCompile(said).MatchString(stdout+stderr) {
				t.Errorf("plan: exit code %d, %q\n%s%s", code, said, stdout, stderr)
			}
		})
	}
	code, stdout, _ := ended(t, "plan", "--nvml-library="+nvmltest.Install(t, occupied(two(t))),
		"--busy=wait")
	if code != 0 || !regexp.MustCompile(`warning   GPU 0 .* is `+busy).MatchString(stdout) {
		t.Errorf("plan --busy=wait: exit code %d\n%s", code, stdout)
	}
}

func TestBusyWait(t *testing.T) {
	t.Run("until they are free", func(t *testing.T) {
		library := nvmltest.Install(t, occupied(two(t)))
		j := launchertest.Start(t, nil, append([]string{"run", "--busy=wait", "--nvml-library=" +
			library}, launchertest.Worker("report")...)...)
		j.AwaitStderr("waiting for GPUs to be free: GPU 0 (0000:1b:00.0) is in use by process")
		if stdout, _ := j.Output(); stdout != "" {
			t.Errorf("it has begun:\n%s", stdout)
		}
		nvmltest.Change(t, library, two(t))
		if code, stderr := j.Exit(); code != 0 || strings.Contains(stderr, "warning: GPU") {
			t.Errorf("exit code %d\n%s", code, stderr)
		}
		if stdout, _ := j.Output(); strings.Count(stdout, "report {") != 2 {
			t.Error(stdout)
		}
	})
	t.Run("as many as are needed are free", func(t *testing.T) {
		library := nvmltest.Install(t, occupied(two(t)))
		got := launchertest.Reports(t, nil, "--busy=wait", "--nproc-per-node=1",
			"--nvml-library="+library)
		if len(got) != 1 || got[0].Env["CUDA_VISIBLE_DEVICES"] != "1" {
			t.Errorf("%+v", got)
		}
	})
	t.Run("more than there are", func(t *testing.T) {
		library := nvmltest.Install(t, occupied(two(t)))
		code, _, stderr := ended(t, "run", "--busy=wait", "--nproc-per-node=3",
			"--nvml-library="+library, "true")
		if code != 125 || !strings.Contains(stderr, "3 workers were asked for") {
			t.Errorf("exit code %d\n%s", code, stderr)
		}
	})
	t.Run("stopped", func(t *testing.T) {
		library := nvmltest.Install(t, occupied(two(t)))
		j := launchertest.Start(t, nil, append([]string{"run", "--busy=wait", "--nvml-library=" +
			library}, launchertest.Worker("report")...)...)
		j.AwaitStderr("waiting for GPUs")
		j.Signal(unix.SIGTERM)
		code, stderr := j.Exit()
		if stdout, _ := j.Output(); code != 143 || stdout != "" ||
			!strings.Contains(stderr, "SIGTERM: nothing was started") {
			t.Errorf("exit code %d\n%s%s", code, stdout, stderr)
		}
	})
	t.Run("NVML does not answer while it waits", func(t *testing.T) {
		library := nvmltest.Install(t, occupied(two(t)))
		j := launchertest.Start(t, nil, append([]string{"run", "--busy=wait", "--gpu-timeout=1s",
			"--nvml-library=" + library}, launchertest.Worker("report")...)...)
		j.AwaitStderr("waiting for GPUs")
		troubled := two(t).With(nvmltest.Behavior{Function: "nvmlDeviceGetName",
			Device: nvmltest.AllDevices, Action: nvmltest.Segfault})
		troubled.LogCalls = true
		nvmltest.Change(t, library, troubled)
		awaitCalls(t, library, "nvmlDeviceGetName", 2) // the first has not been taken for an answer
		if stdout, stderr := j.Output(); stdout != "" {
			t.Errorf("nobody knows who uses them, and yet:\n%s%s", stdout, stderr)
		}
		nvmltest.Change(t, library, two(t))
		if code, stderr := j.Exit(); code != 0 {
			t.Errorf("exit code %d\n%s", code, stderr)
		}
		if stdout, _ := j.Output(); strings.Count(stdout, "report {") != 2 {
			t.Error(stdout)
		}
	})
}

// TestGPULeftovers: a process of the job that is still on the job's GPUs is named.
func TestGPULeftovers(t *testing.T) {
	library := nvmltest.Install(t, two(t))
	file := filepath.Join(t.TempDir(), "report.json")
	fifo := filepath.Join(t.TempDir(), "fifo")
	if err := unix.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	const worker = `if [ $RANK = 0 ]; then setsid sleep 1000 >/dev/null 2>&1 & echo left $!; fi
		read x <"$0"`
	j := launchertest.Start(t, nil, "run", "--sweep=off", "--nvml-library="+library, "--report="+file,
		"--", "sh", "-c", worker, fifo)
	left, _ := strconv.Atoi(j.Await(1, `left (\d+)`)[0])
	t.Cleanup(func() { _ = unix.Kill(left, unix.SIGKILL) })
	// Another process of this user comes to the GPU as well. It is none of the job's.
	busy := occupied(two(t)).WithDevice(0, func(d *nvmltest.Device) {
		of := d.Processes[0]
		of.PID = uint32(left)
		d.Processes = append(d.Processes, of)
	})
	nvmltest.Change(t, library, busy)
	f, err := os.OpenFile(fifo, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteString("\n\n"); err != nil {
		t.Fatal(err)
	}
	code, stderr := j.Exit()
	named := fmt.Sprintf("still on GPU 0 after the job: process %d", left)
	if code != 0 || strings.Count(stderr, "still on GPU") != 1 || !strings.Contains(stderr, named) {
		t.Errorf("exit code %d\n%s", code, stderr)
	}
	if r := readReport(t, file); len(r.GPULeftovers) != 1 || r.GPULeftovers[0].PID != left {
		t.Errorf("%+v", r.GPULeftovers)
	}
}

// TestOthersOnGPUs is the negative control: who else is on the job's GPUs is not offered for ending.
func TestOthersOnGPUs(t *testing.T) {
	for name, c := range map[string]struct {
		before, during nvmltest.Machine
		left           int
	}{
		"came later":   {two(t), occupied(two(t)), 0},
		"there before": {occupied(two(t)), occupied(two(t)), 0},
		"gone":         {occupied(two(t)), two(t), 0},
	} {
		t.Run(name, func(t *testing.T) {
			library := nvmltest.Install(t, c.before)
			file := filepath.Join(t.TempDir(), "report.json")
			j, release := holding(t, 2, "--nvml-library="+library, "--report="+file)
			j.Await(2, "ready")
			nvmltest.Change(t, library, c.during)
			release()
			code, stderr := j.Exit()
			if n := strings.Count(stderr, "still on GPU 0 after the job: process"); code != 7 ||
				n != c.left {
				t.Errorf("exit code %d, %d leftovers, want %d\n%s", code, n, c.left, stderr)
			}
			r := readReport(t, file)
			if len(r.GPULeftovers) != c.left || c.left > 0 && r.GPULeftovers[0].PID != os.Getpid() {
				t.Errorf("%+v", r.GPULeftovers)
			}
		})
	}
	t.Run("not searched for in a hurry", func(t *testing.T) {
		library := nvmltest.Install(t, two(t))
		j := launchertest.Start(t, nil, append([]string{"run", "--grace=1h", "--nvml-library=" +
			library}, launchertest.Worker("ignore")...)...)
		j.Await(2, "ready")
		nvmltest.Change(t, library, occupied(two(t)))
		j.Signal(unix.SIGTERM)
		j.AwaitStderr("SIGTERM: stopping 2 workers")
		launchertest.AwaitSignalWindow()
		j.Signal(unix.SIGTERM)
		if code, stderr := j.Exit(); code != 143 || strings.Contains(stderr, "still on") {
			t.Errorf("exit code %d\n%s", code, stderr)
		}
	})
}

func TestDeviceIDs(t *testing.T) {
	m := two(t)
	library := nvmltest.Install(t, m)
	for flag, want := range map[string][2]string{
		"--device-id=index": {"0", "1"},
		"--device-id=uuid":  {m.Devices[0].UUID, m.Devices[1].UUID},
	} {
		for i, r := range launchertest.Reports(t, nil, "--nvml-library="+library, flag) {
			if r.Env["CUDA_VISIBLE_DEVICES"] != want[i] ||
				r.Env["GPULAUNCH_GPU_UUID"] != m.Devices[i].UUID {
				t.Errorf("%s: rank %d has %q", flag, i, r.Env["CUDA_VISIBLE_DEVICES"])
			}
		}
	}
	for i, r := range launchertest.Reports(t, nil, "--nvml-library="+library, "--device-id=uuid",
		"--visible=all") {
		if r.Env["CUDA_VISIBLE_DEVICES"] != m.Devices[0].UUID+","+m.Devices[1].UUID ||
			r.Env["GPULAUNCH_GPU_UUID"] != m.Devices[i].UUID ||
			r.Env["GPULAUNCH_GPU_INDEX"] == "" || r.Env["GPULAUNCH_GPU_PCI"] == "" {
			t.Errorf("rank %d has %v", i, r.Env)
		}
	}
}
