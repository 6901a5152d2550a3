//go:build linux

package main

import (
	"slices"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/gpulaunch/gpulaunch/gpu/nvml/nvmltest"
	"github.com/gpulaunch/gpulaunch/launcher/launchertest"
)

// Whatever NVML does while a job runs, or before: the workers run to their own
// ends, the exit code is theirs, and the launcher ends with them.

// mixed is a GPU and two MIG instances of another one, calls written down.
func mixed(t *testing.T) nvmltest.Machine {
	m := two(t).MIG(1).WithDevice(1, func(d *nvmltest.Device) { d.Processes = nil })
	m.LogCalls = true
	return m
}

// fewer is the machine with one GPU less, so that all GPUs are listed anew.
func fewer(m nvmltest.Machine) nvmltest.Machine {
	m.Devices = m.Devices[:1]
	return m
}

// functions are those that are called before a job begins, and while it runs, with
// an event and a change of the GPUs.
func functions(t *testing.T) (before, during []string) {
	t.Helper()
	m := mixed(t)
	library := nvmltest.Install(t, m)
	j, release := holding(t, 3, "--metrics-address=127.0.0.1:0", "--nvml-library="+library)
	j.Await(3, "ready")
	awaitCalls(t, library, "nvmlEventSetWait_v2", 1)
	before = nvmltest.Calls(t, library)
	nvmltest.Change(t, library, fewer(m.WithEvents(nvmltest.XID(0, 92))))
	awaitCalls(t, library, "nvmlEventSetCreate", 2)
	awaitCalls(t, library, "nvmlEventSetWait_v2",
		nvmltest.CountCalls(t, library, "nvmlEventSetWait_v2")+1)
	during = nvmltest.Calls(t, library)[len(before):]
	release()
	if code, stderr := j.Exit(); code != 7 {
		t.Fatalf("without trouble: exit code %d\n%s", code, stderr)
	}
	return nvmltest.Functions(before), nvmltest.Functions(during)
}

// side runs subtests side by side, a bounded number of them: they mostly wait.
type side struct {
	wg    sync.WaitGroup
	slots chan struct{}
}

func (s *side) run(t *testing.T, name string, f func(*testing.T)) {
	s.wg.Go(func() {
		s.slots <- struct{}{}
		defer func() { <-s.slots }()
		t.Run(name, f)
	})
}

// holds lets the workers of a job go and wants it to end as they do.
func holds(t *testing.T, j *launchertest.Job, release func(), workers int) {
	t.Helper()
	release()
	code, stderr := j.Exit()
	stdout, _ := j.Output()
	if code != 7 || strings.Count(stdout, "ready ") != workers ||
		strings.Contains(stderr, "goroutine ") {
		t.Errorf("exit code %d, want 7 of %d workers\n%s%s", code, workers, stdout, stderr)
	}
}

func TestTroubleInEachCall(t *testing.T) {
	before, during := functions(t)
	if len(during) < 25 {
		t.Fatalf("only %d functions are called while a job runs: %v", len(during), during)
	}
	s := side{slots: make(chan struct{}, 8)}
	for about, action := range map[string]nvmltest.Action{"hang": nvmltest.Hang,
		"crash": nvmltest.Segfault} {
		trouble := func(m nvmltest.Machine, function string) nvmltest.Machine {
			return m.With(nvmltest.Behavior{Function: function, Device: nvmltest.AllDevices,
				Action: action})
		}
		for _, function := range during {
			s.run(t, about+" in "+function, func(t *testing.T) {
				library := nvmltest.Install(t, mixed(t))
				j, release := holding(t, 3, "--metrics-address=127.0.0.1:0",
					"--nvml-library="+library)
				j.Await(3, "ready")
				n := nvmltest.CountCalls(t, library, function)
				nvmltest.Change(t, library, fewer(trouble(mixed(t), function)))
				awaitCalls(t, library, function, n+1)
				holds(t, j, release, 3)
			})
		}
		for _, function := range before {
			if slices.Contains(during, function) {
				continue
			}
			s.run(t, about+" at the start in "+function, func(t *testing.T) {
				library := nvmltest.Install(t, trouble(mixed(t), function))
				j, release := holding(t, 2, "--nproc-per-node=2", "--gpu-timeout=1s",
					"--metrics-address=127.0.0.1:0", "--nvml-library="+library)
				j.Await(2, "ready")
				holds(t, j, release, 2)
			})
		}
	}
	s.wg.Wait()
}

func TestTroubleOfOtherKinds(t *testing.T) {
	all := func(action nvmltest.Action, functions ...string) (list []nvmltest.Behavior) {
		for _, f := range functions {
			list = append(list, nvmltest.Behavior{Function: f, Device: nvmltest.AllDevices,
				Action: action})
		}
		return list
	}
	burst := nvmltest.XID(0, 31)
	burst.Count = 100_000
	m := mixed(t)
	texts := all(nvmltest.Garbage, "nvmlDeviceGetName", "nvmlDeviceGetUUID", "nvmlSystem*",
		"nvmlErrorString")
	s := side{slots: make(chan struct{}, 4)}
	for name, c := range map[string]struct {
		start, then nvmltest.Machine
		called      string // what says that the trouble has come
	}{
		"init error": {m.FailsToStart(), m.FailsToStart(), ""},
		"init error after a crash": {m, m.FailsToStart().With(all(nvmltest.Segfault,
			"nvmlDeviceGetMemoryInfo*")...), "nvmlInitWithFlags"},
		"no symbols of newer times": {m.AncientDriver(), m.AncientDriver(), ""},
		"no symbols for events": {m.Without("nvmlEventSetCreate", "nvmlEventSetWait",
			"nvmlEventSetWait_v2", "nvmlEventSetFree", "nvmlDeviceRegisterEvents"), m, ""},
		"no symbols for figures": {m.Without("nvmlDeviceGetMemoryInfo",
			"nvmlDeviceGetMemoryInfo_v2", "nvmlDeviceGetTemperature", "nvmlDeviceGetTemperatureV",
			"nvmlDeviceGetPowerUsage"), m, ""},
		"lost GPU":          {m, m.LostGPU(0), "nvmlDeviceGetMemoryInfo_v2"},
		"all lost":          {m, m.LostGPU(0).LostGPU(1), "nvmlDeviceGetMemoryInfo_v2"},
		"a burst of events": {m, m.WithEvents(burst), "nvmlEventSetWait_v2"},
		"garbage":           {m.With(texts...), m.With(texts...), ""},
		"garbage later":     {m, fewer(m.With(texts...)), "nvmlDeviceGetUUID"},
		"fewer GPUs":        {m, fewer(m), "nvmlEventSetFree"},
		"more GPUs":         {fewer(m), m, "nvmlEventSetFree"},
		"no GPUs": {m,
			fewer(m).With(nvmltest.Behavior{Function: "nvmlDeviceGetCount*",
				Device: nvmltest.AllDevices, Action: nvmltest.Fail(999)}), "nvmlDeviceGetCount_v2"},
	} {
		s.run(t, name, func(t *testing.T) {
			library := nvmltest.Install(t, c.start)
			j, release := holding(t, 2, "--nproc-per-node=2", "--oversubscribe",
				"--metrics-address=127.0.0.1:0", "--nvml-library="+library)
			j.Await(2, "ready")
			n := 0
			if c.called != "" {
				n = nvmltest.CountCalls(t, library, c.called)
			}
			nvmltest.Change(t, library, c.then)
			if c.called != "" {
				awaitCalls(t, library, c.called, n+1)
			}
			holds(t, j, release, 2)
		})
	}
	s.wg.Wait()
}

// TestStopDuringAHang: a driver that hangs does not hold up the user's wish either.
func TestStopDuringAHang(t *testing.T) {
	m := mixed(t)
	library := nvmltest.Install(t, m)
	j := launchertest.Start(t, nil,
		append([]string{"run", "--grace=1h", "--metrics-address=127.0.0.1:0", "--nvml-library=" +
			library}, launchertest.Worker("block")...)...)
	pids := j.Await(3, `ready (\d+)`)
	n := nvmltest.CountCalls(t, library, "nvmlDeviceGetMemoryInfo_v2")
	nvmltest.Change(t, library, m.With(nvmltest.Behavior{Function: "nvmlDeviceGetMemoryInfo_v2",
		Device: nvmltest.AllDevices, Action: nvmltest.Hang}))
	awaitCalls(t, library, "nvmlDeviceGetMemoryInfo_v2", n+1)
	j.Signal(unix.SIGTERM)
	if code, stderr := j.Exit(); code != 143 {
		t.Errorf("exit code %d\n%s", code, stderr)
	}
	launchertest.Gone(t, pids...)
}
