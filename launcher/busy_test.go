package launcher

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/gpulaunch/gpulaunch/gpu"
)

var alice = gpu.Process{PID: 42, User: "alice", Command: "python3", MemoryBytes: 3 << 30, MemoryKnown: true, Visible: true}

// occupied is two GPUs of which others use the first.
func occupied(by ...gpu.Process) Machine {
	m := twoNodes("unset", 0, 1)
	m.Inventory.Devices[0].Processes = by
	m.Visible = m.Inventory.Visible("", false)
	return m
}

func TestBusy(t *testing.T) {
	const told = "GPU 0 (0000:01:00.0) is in use by process 42 (python3 of alice, 3.0 GiB)"
	for mode, want := range map[BusyMode]struct {
		given    string
		warnings []string
		err      string
	}{
		"":       {"0 1", []string{told}, ""},
		BusyWarn: {"0 1", []string{told}, ""},
		BusyWait: {"0 1", []string{told}, ""},
		BusySkip: {"1", []string{"GPU 0 (0000:01:00.0) is left out: in use by process 42 (python3 of alice, 3.0 GiB)"}, ""},
		BusyFail: {"", nil, "as --busy=fail says, nothing is started: " + told + "; --busy=wait waits, --busy=skip takes other GPUs"},
	} {
		o := options()
		o.Busy = mode
		p, err := NewPlan(occupied(alice), o)
		if want.err != "" {
			if err == nil || err.Error() != want.err {
				t.Errorf("%s: %v", mode, err)
			}
			continue
		}
		if err != nil || given(p) != want.given {
			t.Errorf("%s: %v, %q", mode, err, given(p))
		}
		if diff := cmp.Diff(want.warnings, p.Warnings); diff != "" {
			t.Errorf("%s:\n%s", mode, diff)
		}
		if p, err = NewPlan(occupied(), o); err != nil || given(p) != "0 1" || len(p.Warnings) > 0 {
			t.Errorf("%s, nobody there: %v %q %q", mode, err, given(p), p.Warnings)
		}
	}
	o := options()
	o.Busy, o.Workers = BusySkip, CountOf(1)
	if p, err := NewPlan(occupied(alice), o); err != nil || given(p) != "1" {
		t.Errorf("one worker: %v %q", err, given(p))
	}
	o.Busy = BusyFail
	m := occupied(alice)
	m.Visible = m.Inventory.Visible("1,0", true)
	if p, err := NewPlan(m, o); err != nil || given(p) != "1" {
		t.Errorf("one worker, elsewhere: %v %q", err, given(p))
	}
	m.Visible = m.Inventory.Visible("0", true)
	o = options()
	o.Busy, o.Health = BusySkip, HealthSkip
	if _, err := NewPlan(m, o); err == nil || !strings.Contains(err.Error(), "no GPU is left: GPU 0 (0000:01:00.0) is not usable: in use by process 42") ||
		!strings.Contains(err.Error(), "--health=warn and --busy=warn") {
		t.Error(err)
	}
	m.Inventory.Source = gpu.SourceDriver
	o = options()
	o.Busy = BusyWait
	if p, err := NewPlan(m, o); err != nil || !strings.Contains(strings.Join(p.Warnings, "\n"), "--busy=wait has no effect") {
		t.Errorf("%v %q", err, p.Warnings)
	}
}

// TestBusyInstances: who is on one MIG instance is not on the other.
func TestBusyInstances(t *testing.T) {
	of := func(mig string) Machine {
		p := alice
		p.MIG = mig
		m := sickParts()
		m.Inventory.Devices[0].Findings, m.Inventory.Devices[0].Processes = nil, []gpu.Process{p}
		m.Visible = m.Inventory.Visible("", false)
		return m
	}
	o := options()
	o.Busy = BusySkip
	p, err := NewPlan(of("MIG-1"), o)
	if err != nil || given(p) != "MIG-2" || len(p.Warnings) != 1 || !strings.Contains(p.Warnings[0], "in use in MIG-1 by process 42") {
		t.Errorf("%v %q %q", err, given(p), p.Warnings)
	}
	if _, err := NewPlan(of(""), o); err == nil {
		t.Error("a process on an unknown instance leaves one free")
	}
}

func TestInWords(t *testing.T) {
	var many []gpu.Process
	for i := range 7 {
		many = append(many, gpu.Process{PID: i + 1})
	}
	for want, processes := range map[string][]gpu.Process{
		"in use by process 7":                                             {{PID: 7}},
		"in use by process 7 (bob)":                                       {{PID: 7, User: "bob"}},
		"in use by process 7 (x, 0 MiB)":                                  {{PID: 7, Command: "x", MemoryKnown: true}},
		"in use by process 7 (x of 1000, 512 MiB)":                        {{PID: 7, Command: "x", User: "1000", MemoryKnown: true, MemoryBytes: 512 << 20}},
		"in use by process 1, process 2, process 3, process 4, 3 more":    many,
		"in use by process 1, process 2, process 3, process 4":            many[:4],
		"in use by process 42 (python3 of alice, 3.0 GiB), process 7 (x)": {alice, {PID: 7, Command: "x"}},
	} {
		if got := inUse(gpu.Unit{Device: gpu.Device{Processes: processes}}); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

func TestLeftoversOnGPUs(t *testing.T) {
	m := twoNodes("unset", 0, 1, 1)
	o := options()
	o.Workers = CountOf(2)
	p, err := NewPlan(m, o)
	if err != nil {
		t.Fatal(err)
	}
	process := func(pid int, user string) gpu.Process { return gpu.Process{PID: pid, User: user} }
	before, after := m.Inventory, m.Inventory
	before.Devices = []gpu.Device{m.Inventory.Devices[0], m.Inventory.Devices[1], m.Inventory.Devices[2]}
	before.Devices[1].Processes = []gpu.Process{process(1, "me")}
	after.Devices = []gpu.Device{
		{Index: 0, UUID: "GPU-1", Processes: []gpu.Process{process(1, "me"), process(2, "me"), process(3, "else"), process(4, "")}},
		{Index: 1, UUID: "GPU-2", Processes: []gpu.Process{process(5, "me")}}, // not the job's
	}
	want := []GPUProcess{{GPU: 1, UUID: "GPU-1", Process: process(2, "me")}, {GPU: 1, UUID: "GPU-1", Process: process(4, "")}}
	got := Leftovers(p, before, after, "me")
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if got := Leftovers(p, after, after, "me"); got != nil {
		t.Errorf("all were there before: %v", got)
	}
	r := Result{GPULeftovers: got}
	rep := r.Report(p, Config{})
	if len(rep.GPULeftovers) != 2 || rep.GPULeftovers[0].PID != 2 || rep.GPULeftovers[0].GPU != 1 {
		t.Errorf("%+v", rep.GPULeftovers)
	}
	if lines := r.Summary(); len(lines) != 2 || lines[0] != "still on GPU 1 after the job: process 2 (me); end it, or its memory stays taken" {
		t.Errorf("%q", lines)
	}
	r.GPULeftovers = make([]GPUProcess, 20)
	if lines := r.Summary(); len(lines) != mostLeftovers+1 || lines[mostLeftovers] != "and 12 more processes are still on the job's GPUs" {
		t.Errorf("%q", lines)
	}
}

// TestLeftoversOfInstances: another instance of the GPU is not the job's.
func TestLeftoversOfInstances(t *testing.T) {
	m := sickParts()
	o := options()
	o.Workers = CountOf(1)
	p, err := NewPlan(m, o)
	if err != nil {
		t.Fatal(err)
	}
	after := m.Inventory
	after.Devices = []gpu.Device{m.Inventory.Devices[0]}
	after.Devices[0].Processes = []gpu.Process{{PID: 1, MIG: "MIG-1"}, {PID: 2, MIG: "MIG-2"}}
	if got := Leftovers(p, m.Inventory, after, "me"); len(got) != 1 || got[0].PID != 1 || got[0].UUID != "GPU-0" {
		t.Errorf("%+v", got)
	}
}
