package plan_test

import (
	"strings"
	"testing"

	"github.com/gpulaunch/gpulaunch/launcher/plan"
	"github.com/gpulaunch/gpulaunch/launcher/plan/plantest"

	"github.com/google/go-cmp/cmp"

	"github.com/gpulaunch/gpulaunch/gpu"
)

var alice = gpu.Process{PID: 42, User: "alice", Command: "python3", MemoryBytes: 3 << 30,
	MemoryKnown: true, Visible: true}

// busyMachine returns a machine with two GPUs. The given processes compute on the first.
func busyMachine(by ...gpu.Process) plan.Machine {
	m := plantest.TwoNodes("unset", 0, 1)
	m.Inventory.Devices[0].Processes = by
	m.Visible = m.Inventory.Visible("", false)
	return m
}

func TestBusy(t *testing.T) {
	const warning = "GPU 0 (0000:01:00.0) is in use by process 42 (python3 of alice, 3.0 GiB)"
	for mode, want := range map[plan.BusyMode]struct {
		given    string
		warnings []string
		err      string
	}{
		"":            {"0 1", []string{warning}, ""},
		plan.BusyWarn: {"0 1", []string{warning}, ""},
		plan.BusyWait: {"0 1", []string{warning}, ""},
		plan.BusySkip: {"1",
			[]string{"GPU 0 (0000:01:00.0) is left out: in use by process 42 (python3 of alice, " +
				"3.0 GiB)"}, ""},
		plan.BusyFail: {"", nil, "nothing is started, because of --busy=fail: " + warning +
			"; --busy=wait waits, --busy=skip takes other GPUs"},
	} {
		o := plantest.Options()
		o.Busy = mode
		p, err := plan.New(busyMachine(alice), o)
		if want.err != "" {
			if err == nil || err.Error() != want.err {
				t.Errorf("%s: %v", mode, err)
			}
			continue
		}
		if err != nil || visibleDevices(p) != want.given {
			t.Errorf("%s: %v, %q", mode, err, visibleDevices(p))
		}
		if diff := cmp.Diff(want.warnings, p.Warnings); diff != "" {
			t.Errorf("%s:\n%s", mode, diff)
		}
		if p, err = plan.New(busyMachine(), o); err != nil || visibleDevices(p) != "0 1" ||
			len(p.Warnings) > 0 {
			t.Errorf("%s, GPU not in use: %v %q %q", mode, err, visibleDevices(p), p.Warnings)
		}
	}
	o := plantest.Options()
	o.Busy, o.Workers = plan.BusySkip, plan.Workers(1)
	if p, err := plan.New(busyMachine(alice), o); err != nil || visibleDevices(p) != "1" {
		t.Errorf("one worker: %v %q", err, visibleDevices(p))
	}
	o.Busy = plan.BusyFail
	m := busyMachine(alice)
	m.Visible = m.Inventory.Visible("1,0", true)
	if p, err := plan.New(m, o); err != nil || visibleDevices(p) != "1" {
		t.Errorf("one worker, on the other GPU: %v %q", err, visibleDevices(p))
	}
	m.Visible = m.Inventory.Visible("0", true)
	o = plantest.Options()
	o.Busy, o.Health = plan.BusySkip, plan.HealthSkip
	if _, err := plan.New(m, o); err == nil || !strings.Contains(err.Error(),
		"no GPU is left: GPU 0 (0000:01:00.0) is not usable: in use by process 42") ||
		!strings.Contains(err.Error(), "--health=warn and --busy=warn") {
		t.Error(err)
	}
	m.Inventory.Source = gpu.SourceDriver
	o = plantest.Options()
	o.Busy = plan.BusyWait
	if p, err := plan.New(m, o); err != nil || !strings.Contains(strings.Join(p.Warnings, "\n"),
		"--busy=wait has no effect") {
		t.Errorf("%v %q", err, p.Warnings)
	}
}

// TestBusyInstances checks that a process on one MIG instance does not count for the other.
func TestBusyInstances(t *testing.T) {
	of := func(mig string) plan.Machine {
		p := alice
		p.MIG = mig
		m := plantest.MIGWithFinding()
		m.Inventory.Devices[0].Findings, m.Inventory.Devices[0].Processes = nil, []gpu.Process{p}
		m.Visible = m.Inventory.Visible("", false)
		return m
	}
	o := plantest.Options()
	o.Busy = plan.BusySkip
	p, err := plan.New(of("MIG-1"), o)
	if err != nil || visibleDevices(p) != "MIG-2" || len(p.Warnings) != 1 ||
		!strings.Contains(p.Warnings[0], "in use in MIG-1 by process 42") {
		t.Errorf("%v %q %q", err, visibleDevices(p), p.Warnings)
	}
	if _, err := plan.New(of(""), o); err == nil {
		t.Error("a process on an unknown instance leaves one free")
	}
}

func TestInUse(t *testing.T) {
	var many []gpu.Process
	for i := range 7 {
		many = append(many, gpu.Process{PID: i + 1})
	}
	for want, processes := range map[string][]gpu.Process{
		"in use by process 7":       {{PID: 7}},
		"in use by process 7 (bob)": {{PID: 7, User: "bob"}},
		"in use by process 7 (x, 0 MiB)": {{PID: 7, Command: "x",
			MemoryKnown: true}},
		"in use by process 7 (x of 1000, 512 MiB)": {{PID: 7, Command: "x",
			User: "1000", MemoryKnown: true, MemoryBytes: 512 << 20}},
		"in use by process 1, process 2, process 3, process 4, 3 more": many,
		"in use by process 1, process 2, process 3, process 4":         many[:4],
		"in use by process 42 (python3 of alice, 3.0 GiB), process 7 (x)": {alice,
			{PID: 7, Command: "x"}},
	} {
		if got := plan.InUse(gpu.Unit{Device: gpu.Device{Processes: processes}}); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}
