//go:build linux

package main

import (
	"bufio"
	"context"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/gpulaunch/gpulaunch/gpu/nvml/nvmltest"
	"github.com/gpulaunch/gpulaunch/launcher/launchertest"
	"github.com/gpulaunch/gpulaunch/launcher/report"
)

// awaitCalls waits until the library has been asked to do something n times.
func awaitCalls(t *testing.T, library, function string, n int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), launchertest.Patience)
	defer cancel()
	if err := nvmltest.WaitForCall(ctx, library, function, n); err != nil {
		t.Fatal(err)
	}
}

func TestXIDsOfARunningJob(t *testing.T) {
	for _, address := range []string{"127.0.0.1:0", "off"} {
		t.Run("metrics "+address, func(t *testing.T) {
			m := two(t)
			library := nvmltest.Install(t, m)
			file := filepath.Join(t.TempDir(), "report.json")
			j, release := holding(t, 2, "--nvml-library="+library, "--report="+file,
				"--metrics-address="+address)
			j.Await(2, "ready")
			m = m.WithEvents(nvmltest.XID(1, 63), nvmltest.XID(1, 79))
			nvmltest.Change(t, library, m)
			stderr := j.AwaitStderr("GPU 1 (rank 1): XID 79, the GPU fell off the bus (fatal)\n")
			if address != "off" {
				scrape(t, regexp.MustCompile(`http://\S+`).FindString(stderr),
					`gpulaunch_gpu_xid_events_total\{class="fatal",gpu="1",uuid="`+m.Devices[1].UUID+`",xid="79"\} 1`,
					`gpulaunch_gpu_xid_events_total\{class="other",gpu="1",uuid="`+m.Devices[1].UUID+`",xid="63"\} 1`)
			}
			release()
			code, stderr := j.Exit()
			if code != 7 || strings.Count(stderr,
				"probable cause: XID 79, the GPU fell off the bus (fatal)") != 1 {
				t.Errorf("exit code %d\n%s", code, stderr)
			}
			r := readReport(t, file)
			if len(r.Workers) != 2 || len(r.Workers[0].XIDs) != 2 ||
				r.Workers[0].XIDs[1].XID != 79 || len(r.Workers[1].XIDs) != 0 {
				t.Errorf("%+v", r.Workers)
			}
		})
	}
}

// three is a machine with three GPUs.
func three(t *testing.T) nvmltest.Machine {
	m := eightGPUs(t)
	m.Devices = m.Devices[:3]
	return m
}

// without is a machine whose NVML no longer lists GPU i.
func without(m nvmltest.Machine, i int) nvmltest.Machine {
	m.Devices = slices.Delete(slices.Clone(m.Devices), i, i+1)
	return m
}

// TestGPULost: a GPU that is lost in the middle of a job is named once, with its rank, and in the
// report. The restart plans around it, or there is none.
func TestGPULost(t *testing.T) {
	isLost, unlisted := three(t).LostGPU(1), without(three(t), 1)
	const restarting, refused = "restarting all workers", "not restarting: 2 workers were asked for"
	for name, c := range map[string]struct {
		after  nvmltest.Machine
		env    []string
		reason string
		goesOn bool
	}{
		"lost":             {isLost, nil, "GPU is lost (code 15)", true},
		"no longer listed": {unlisted, nil, "NVML no longer lists it", true},
		"needs a reset": {three(t).With(nvmltest.Fail(16).InDevice("nvmlDeviceGetMemoryInfo*", 1)),
			nil, "GPU needs a reset (code 16)", true},
		"by index, by the user": {unlisted, []string{"CUDA_VISIBLE_DEVICES=0,1,2"},
			"NVML no longer lists it", true},
		"no other GPU": {without(isLost, 2), nil, "GPU is lost (code 15)", false},
		"no other GPU for the user": {isLost, []string{"CUDA_VISIBLE_DEVICES=0,1"},
			"GPU is lost (code 15)", false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			library := nvmltest.Install(t, three(t))
			file := filepath.Join(t.TempDir(), "report.json")
			j, release := holdingWith(t, c.env, 2, "--nvml-library="+library, "--report="+file,
				"--nproc-per-node=2", "--max-restarts=1", "--metrics-address=off")
			j.Await(2, "ready")
			nvmltest.Change(t, library, c.after)
			release()
			if c.goesOn {
				j.Await(2, "ready")
				release()
			}
			code, stderr := j.Exit()
			line := "gpulaunch: GPU 1 (rank 1) is lost: " + c.reason + "\n"
			want := refused
			if c.goesOn {
				want = restarting
			}
			if code != 7 || strings.Count(stderr, line) != 1 || !strings.Contains(stderr, want) {
				t.Errorf("exit code %d, want %q and %q\n%s", code, line, want, stderr)
			}
			r := readReport(t, file)
			failed := r.Workers
			if c.goesOn {
				failed = r.Earlier
				if d := workerOf(r, 1).Device; d == nil || d.Index != 2 {
					t.Errorf("the restart uses %+v", d)
				}
			}
			if len(failed) == 0 || failed[0].GPULost == nil || failed[0].GPULost.Reason != c.reason {
				t.Errorf("%+v", failed)
			}
			cause := "GPU 1 (rank 1) was lost: " + c.reason
			if !c.goesOn {
				cause = "probable cause: " + cause
			}
			unwrapped := strings.Join(strings.Fields(stderr), " ")
			if n := strings.Count(unwrapped, cause); n != 1 {
				t.Errorf("%q is told %d times\n%s", cause, n, stderr)
			}
		})
	}
}

// TestGPUsWhileTheJobRuns: that NVML hangs is told once, with the call, and that it is over; so is
// that a GPU is lost and works again, without any failure of a worker.
func TestGPUsWhileTheJobRuns(t *testing.T) {
	t.Parallel()
	m := two(t)
	library := nvmltest.Install(t, m)
	j, release := holding(t, 2, "--nvml-library="+library, "--metrics-address=off")
	j.Await(2, "ready")
	told := []string{
		"NVML has not returned from nvmlDeviceGetMemoryInfo_v2 for ",
		"NVML answers again, after ",
		"GPU 0 (rank 0) is lost: NVML no longer lists it\n",
		"GPU 0 (rank 0) works again\n",
	}
	hanging := m.With(nvmltest.Hang.InDevice("nvmlDeviceGetMemoryInfo*", 1))
	for i, now := range []nvmltest.Machine{hanging, m, without(m, 0), m} {
		nvmltest.Change(t, library, now)
		j.AwaitStderr("gpulaunch: " + told[i])
	}
	release()
	code, stderr := j.Exit()
	for _, line := range told {
		if n := strings.Count(stderr, line); n != 1 {
			t.Errorf("%q is told %d times", line, n)
		}
	}
	if code != 7 {
		t.Errorf("exit code %d\n%s", code, stderr)
	}
}

// TestRestartWhileNVMLHangs: whether GPUs are lost is not known then, so the restart uses those of
// the start, and says so.
func TestRestartWhileNVMLHangs(t *testing.T) {
	t.Parallel()
	m := two(t)
	library := nvmltest.Install(t, m)
	j, release := holding(t, 2, "--nvml-library="+library, "--metrics-address=off",
		"--max-restarts=1")
	j.Await(2, "ready")
	nvmltest.Change(t, library, m.With(nvmltest.Hang.InDevice("nvmlDeviceGetMemoryInfo*", 1)))
	release()
	j.Await(2, "ready")
	release()
	code, stderr := j.Exit()
	for _, line := range []string{"NVML has not returned from nvmlDeviceGetMemoryInfo_v2 for ",
		"warning: NVML does not say which GPUs are usable (", "; restarting all workers"} {
		if !strings.Contains(stderr, line) {
			t.Errorf("no %q in\n%s", line, stderr)
		}
	}
	if code != 7 || strings.Contains(stderr, "is lost") {
		t.Errorf("exit code %d\n%s", code, stderr)
	}
}

// workerOf is the worker of a rank in a report.
func workerOf(r report.Report, rank int) report.Worker {
	for _, w := range r.Workers {
		if w.Rank == rank {
			return w
		}
	}
	return report.Worker{}
}

func TestOnXID(t *testing.T) {
	for name, c := range map[string]struct {
		flags []string
		xid   nvmltest.Event
		used  int // GPUs
		code  int
		stops bool
	}{
		"stop": {[]string{"--on-xid=stop", "--max-restarts=3"}, nvmltest.XID(1, 79), 2,
			125, true},
		"report":    {nil, nvmltest.XID(1, 79), 2, 7, false},
		"not fatal": {[]string{"--on-xid=stop"}, nvmltest.XID(1, 31), 2, 7, false},
		"metrics are on": {[]string{"--on-xid=stop", "--metrics-address=127.0.0.1:0"},
			nvmltest.XID(0, 48), 2, 125, true},
		"nobody's GPU": {[]string{"--on-xid=stop", "--nproc-per-node=1"}, nvmltest.XID(1, 79),
			1, 0, false},
		"quiet, but fails": {[]string{"--on-xid=stop", "-q"}, nvmltest.XID(1, 79), 2, 125, true},
	} {
		t.Run(name, func(t *testing.T) {
			m := two(t)
			library := nvmltest.Install(t, m)
			j, release := holding(t, c.used, append(c.flags, "--nvml-library="+library)...)
			j.Await(c.used, "ready")
			// The last one says that those before have been told.
			nvmltest.Change(t, library, m.WithEvents(c.xid, nvmltest.XID(0, 92)))
			if !c.stops { // else the job may end before that one is told
				j.AwaitStderr("GPU 0 (rank 0): XID 92")
				release()
			}
			code, stderr := j.Exit()
			stdout, _ := j.Output()
			told := regexp.MustCompile(`(?m)^gpulaunch: GPU \d \(rank \d\): XID (79|48), .* \(fatal\): the job was stopped as --on-xid=stop says$`).MatchString(stderr)
			if code != c.code || told != c.stops || strings.Count(stdout, "ready") != c.used {
				t.Errorf("exit code %d, want %d\n%s%s", code, c.code, stdout, stderr)
			}
		})
	}
	t.Run("unknown word", func(t *testing.T) {
		code, _, stderr := ended(t, "run", "--on-xid=perhaps", "true")
		if code != 125 || !strings.Contains(stderr, "--on-xid") {
			t.Errorf("exit code %d\n%s", code, stderr)
		}
	})
}

// TestNoXIDs: why no events come is told once, and to nobody who wants quiet.
func TestNoXIDs(t *testing.T) {
	deaf := two(t)
	for i := range deaf.Devices {
		deaf = deaf.WithDevice(i, func(d *nvmltest.Device) { d.EventTypes = 0 })
	}
	for flag, want := range map[string]int{"--quiet": 0, "--output=prefix": 1} {
		library := nvmltest.Install(t, deaf)
		j, release := holding(t, 2, "--nvml-library="+library, flag)
		j.Await(2, "ready")
		if want > 0 {
			j.AwaitStderr("XIDs will not be told: ")
		}
		release()
		code, stderr := j.Exit()
		if n := strings.Count(stderr, "XIDs will not be told: "); code != 7 || n != want {
			t.Errorf("%s: exit code %d, told %d times\n%s", flag, code, n, stderr)
		}
	}
}

func TestXIDBurst(t *testing.T) {
	library := nvmltest.Install(t, two(t))
	j, release := holding(t, 2, "--nvml-library="+library, "--metrics-address=127.0.0.1:0")
	j.Await(2, "ready")
	e := nvmltest.XID(0, 31)
	e.Count = 100_000
	nvmltest.Change(t, library, two(t).WithEvents(e, nvmltest.XID(1, 92)))
	stderr := j.AwaitStderr("GPU 1 (rank 1): XID 92")
	scrape(t, regexp.MustCompile(`http://\S+`).FindString(stderr),
		`gpulaunch_gpu_xid_events_total\{class="application",gpu="0",.*xid="31"\} 100000`)
	release()
	code, stderr := j.Exit()
	lines := 0
	for in := bufio.NewScanner(strings.NewReader(stderr)); in.Scan(); {
		if strings.Contains(in.Text(), "XID 31") {
			lines++
		}
	}
	if code != 7 || lines < 1 || lines > 4 {
		t.Errorf("exit code %d, XID 31 in %d lines\n%s", code, lines, stderr)
	}
}
