package plan_test

import (
	"strings"
	"testing"

	"github.com/gpulaunch/gpulaunch/launcher/plan"
	"github.com/gpulaunch/gpulaunch/launcher/plan/plantest"

	"github.com/google/go-cmp/cmp"

	"github.com/gpulaunch/gpulaunch/gpu"
)

// machineWithFinding returns a machine with two GPUs. The second has a finding with this code.
func machineWithFinding(code string) plan.Machine {
	m := plantest.TwoNodes("unset", 0, 1)
	m.Inventory.Devices[1].Findings = []gpu.Finding{{Code: code, Text: "what was found",
		Remedy: "what to do"}}
	m.Visible = m.Inventory.Visible("", false)
	return m
}

// visibleDevices returns the CUDA_VISIBLE_DEVICES of a plan's workers.
func visibleDevices(p plan.Plan) string {
	var list []string
	for _, w := range p.Workers {
		list = append(list, w.Env["CUDA_VISIBLE_DEVICES"])
	}
	return strings.Join(list, " ")
}

var codes = []string{gpu.CodeECCUncorrected, gpu.CodeRowRemapFailed, gpu.CodeRetiredPagesPending,
	gpu.CodeSRAMThreshold, gpu.CodeSpareRowsExhausted, gpu.CodeFabricLimited,
	gpu.CodeHardwareSlowdown,
	gpu.CodeFabricNotReady, gpu.CodeExclusiveAndBusy, gpu.CodeRecoveryAction,
	"one that a later version finds"}

func TestHealth(t *testing.T) {
	const warning, left = "GPU 1 (0000:02:00.0): what was found; what to do",
		"GPU 1 (0000:02:00.0) is left out: what was found; what to do"
	for _, code := range codes {
		for mode, want := range map[plan.HealthMode]struct {
			given    string
			warnings []string
			err      string
		}{
			"":              {"0 1", []string{warning}, ""},
			plan.HealthWarn: {"0 1", []string{warning}, ""},
			plan.HealthOff:  {"0 1", nil, ""},
			plan.HealthSkip: {"0", []string{left}, ""},
			plan.HealthFail: {"", nil, "nothing is started, because of --health=fail: " + warning},
		} {
			o := plantest.Options()
			o.Health = mode
			p, err := plan.New(machineWithFinding(code), o)
			if want.err != "" {
				if err == nil || err.Error() != want.err {
					t.Errorf("%s, %s: %v", mode, code, err)
				}
				continue
			}
			if err != nil || visibleDevices(p) != want.given {
				t.Errorf("%s, %s: %v, %q", mode, code, err, visibleDevices(p))
			}
			if diff := cmp.Diff(want.warnings, p.Warnings); diff != "" {
				t.Errorf("%s, %s:\n%s", mode, code, diff)
			}
		}
	}
}

// TestTolerableFinding checks that a GPU with a pending row remap is used in each mode: NVIDIA says
// that it may go on taking work. A second finding is rejected all the same.
func TestTolerableFinding(t *testing.T) {
	const warning = "GPU 1 (0000:02:00.0): what was found; what to do"
	for _, mode := range []plan.HealthMode{"", plan.HealthWarn, plan.HealthSkip, plan.HealthFail,
		plan.HealthOff} {
		o := plantest.Options()
		o.Health = mode
		m := machineWithFinding(gpu.CodeRowRemapPending)
		p, err := plan.New(m, o)
		if err != nil || visibleDevices(p) != "0 1" {
			t.Fatalf("%s: %v, %q", mode, err, visibleDevices(p))
		}
		var want []string
		if mode != plan.HealthOff {
			want = []string{warning}
		}
		if diff := cmp.Diff(want, p.Warnings); diff != "" {
			t.Errorf("%s:\n%s", mode, diff)
		}
		m.Inventory.Devices[1].Findings = append(m.Inventory.Devices[1].Findings,
			gpu.Finding{Code: gpu.CodeRowRemapFailed, Text: "worse", Remedy: "replace it"})
		m.Visible = m.Inventory.Visible("", false)
		p, err = plan.New(m, o)
		switch mode {
		case plan.HealthFail:
			want := "nothing is started, because of --health=fail: GPU 1 (0000:02:00.0): worse; " +
				"replace it"
			if err == nil || err.Error() != want {
				t.Error(err)
			}
		case plan.HealthSkip:
			if err != nil || visibleDevices(p) != "0" ||
				!strings.Contains(p.Warnings[0], "is left out: worse; replace it") {
				t.Errorf("%v %q %q", err, visibleDevices(p), p.Warnings)
			}
		}
	}
}

// TestFailWithoutAccess checks that --health=fail does not start with fewer workers because a GPU
// cannot be used, whether or not a finding says why.
func TestFailWithoutAccess(t *testing.T) {
	for name, d := range map[string]gpu.Device{
		"no permission (code 4)": {Problem: "no permission (code 4)", Findings: []gpu.Finding{{
			Code: gpu.CodeInaccessible, Text: "no permission (code 4)", Remedy: "what to do"}}},
		"unknown error (code 999)": {Problem: "unknown error (code 999)"},
		gpu.ProblemNoInstance:      {Problem: gpu.ProblemNoInstance, MIG: true},
	} {
		for mode, given := range map[plan.HealthMode]string{plan.HealthWarn: "GPU-0",
			plan.HealthSkip: "GPU-0", plan.HealthOff: "GPU-0", plan.HealthFail: ""} {
			m := plantest.TwoNodes("unset", 0, 1)
			d.Index, d.UUID, d.PCIBusID = 1, "GPU-1", "0000:02:00.0"
			m.Inventory.Devices[1] = d
			m.Visible = m.Inventory.Visible("", false)
			o := plantest.Options()
			o.Health = mode
			p, err := plan.New(m, o)
			if given != "" && (err != nil || visibleDevices(p) != given || len(p.Warnings) != 1) {
				t.Errorf("%s, %s: %v, %q", mode, name, err, visibleDevices(p))
			}
			if given == "" && (err == nil || !strings.Contains(err.Error(), "--health=fail: GPU 1") ||
				!strings.Contains(err.Error(), name)) {
				t.Errorf("%s, %s: %v", mode, name, err)
			}
		}
	}
}

// TestHealthOfOtherGPUs checks that a finding of a GPU that no worker gets does not matter.
func TestHealthOfOtherGPUs(t *testing.T) {
	for _, mode := range []plan.HealthMode{plan.HealthWarn, plan.HealthFail, plan.HealthSkip} {
		o := plantest.Options()
		o.Health, o.Workers = mode, plan.Workers(1)
		p, err := plan.New(machineWithFinding(gpu.CodeECCUncorrected), o)
		if err != nil || visibleDevices(p) != "0" || mode != plan.HealthSkip &&
			len(p.Warnings) > 0 {
			t.Errorf("%s: %v %q %q", mode, err, visibleDevices(p), p.Warnings)
		}
		o.Workers, o.Health = plan.WorkersCPU, mode
		if p, err = plan.New(machineWithFinding(gpu.CodeECCUncorrected), o); err != nil ||
			len(p.Warnings) > 0 {
			t.Errorf("%s, on CPUs: %v %q", mode, err, p.Warnings)
		}
	}
	// If all GPUs are visible to all workers, the finding matters for all of them.
	o := plantest.Options()
	o.Visible, o.Workers, o.Health = plan.VisibleAll, plan.Workers(1), plan.HealthSkip
	if p, err := plan.New(machineWithFinding(gpu.CodeECCUncorrected), o); err != nil ||
		visibleDevices(p) != "0" {
		t.Errorf("%v %q", err, visibleDevices(p))
	}
	o.Health = plan.HealthFail
	if _, err := plan.New(machineWithFinding(gpu.CodeECCUncorrected), o); err == nil {
		t.Error("a GPU with a finding that is visible is no failure")
	}
	// A GPU with a finding is replaced by one that would not have been used.
	m := machineWithFinding(gpu.CodeECCUncorrected)
	m.Visible = m.Inventory.Visible("1,0", true)
	o = plantest.Options()
	o.Workers, o.Health = plan.Workers(1), plan.HealthSkip
	if p, err := plan.New(m, o); err != nil || visibleDevices(p) != "0" {
		t.Errorf("%v %q", err, visibleDevices(p))
	}
}

// TestNoHealthyGPU checks that the job does not run on CPUs because all GPUs have been skipped.
func TestNoHealthyGPU(t *testing.T) {
	m := machineWithFinding(gpu.CodeECCUncorrected)
	m.Visible = m.Inventory.Visible("1", true)
	o := plantest.Options()
	o.Health = plan.HealthSkip
	want := "no GPU is left: GPU 1 (0000:02:00.0) is not usable: what was found; use " +
		"--health=warn to use them nevertheless, or --nproc-per-node=cpu for CPUs"
	if _, err := plan.New(m, o); err == nil || err.Error() != want {
		t.Error(err)
	}
	if _, err := plan.New(plantest.MIGWithFinding(), o); err == nil ||
		strings.Count(err.Error(), "what was found") != 1 {
		t.Error(err)
	}
	o.Workers = plan.Workers(2)
	if _, err := plan.New(machineWithFinding(gpu.CodeECCUncorrected), o); err == nil ||
		!strings.Contains(err.Error(),
			"there is 1 GPU usable, GPU 1 (0000:02:00.0) is not usable: what was found") {
		t.Error(err)
	}
	o = plantest.Options()
	p, err := plan.New(plantest.MIGWithFinding(), o)
	if err != nil || visibleDevices(p) != "MIG-1 MIG-2" || len(p.Warnings) != 1 {
		t.Errorf("%v %q %q", err, visibleDevices(p), p.Warnings)
	}
}

// TestNeverUsable checks that no worker gets some GPUs in any mode.
func TestNeverUsable(t *testing.T) {
	lost := machineWithFinding(gpu.CodeLost)
	lost.Inventory.Devices[1].Problem = "it is lost"
	lost.Visible = lost.Inventory.Visible("", false)
	for name, c := range map[string]struct {
		machine plan.Machine
		given   string
	}{"prohibited": {machineWithFinding(gpu.CodeComputeProhibited), "0"}, "lost": {lost, "GPU-0"}} {
		for _, mode := range []plan.HealthMode{plan.HealthWarn, plan.HealthSkip, plan.HealthOff} {
			o := plantest.Options()
			o.Health = mode
			p, err := plan.New(c.machine, o)
			if err != nil || visibleDevices(p) != c.given || len(p.Warnings) != 1 ||
				!strings.HasSuffix(p.Warnings[0], "; what to do") {
				t.Errorf("%s, %s: %v %q %q", name, mode, err, visibleDevices(p), p.Warnings)
			}
		}
		o := plantest.Options()
		o.Health = plan.HealthFail
		if _, err := plan.New(c.machine, o); err == nil ||
			!strings.Contains(err.Error(), "GPU 1 (0000:02:00.0): what was found; what to do") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestHealthUnknown checks that there is a warning if health cannot be checked for lack of NVML.
func TestHealthUnknown(t *testing.T) {
	m := plantest.TwoNodes("unset", 0)
	m.Inventory.Source = gpu.SourceDriver
	for _, mode := range []plan.HealthMode{plan.HealthSkip, plan.HealthFail} {
		o := plantest.Options()
		o.Health = mode
		p, err := plan.New(m, o)
		if err != nil || len(p.Warnings) != 1 ||
			!strings.Contains(p.Warnings[0], "--health="+string(mode)+" has no effect") {
			t.Errorf("%v %q", err, p.Warnings)
		}
	}
	if p, err := plan.New(m, plantest.Options()); err != nil || len(p.Warnings) > 0 {
		t.Errorf("%v %q", err, p.Warnings)
	}
}

func TestDeviceID(t *testing.T) {
	plain := plantest.TwoNodes("unset", 0, 1)
	named := plantest.TwoNodes("GPU-1,GPU-0", 0, 1)
	lost := plantest.TwoNodes("unset", 0, 1)
	lost.Inventory.Devices[0].Problem = "it is lost"
	lost.Visible = lost.Inventory.Visible("", false)
	for _, c := range []struct {
		machine  plan.Machine
		by       plan.DeviceID
		visible  plan.Visibility
		want     string
		warnings int
	}{
		{plain, "", plan.VisibleOwn, "0 1", 0},
		{plain, plan.DeviceIndex, plan.VisibleOwn, "0 1", 0},
		{plain, plan.DeviceUUID, plan.VisibleOwn, "GPU-0 GPU-1", 0},
		{plain, plan.DeviceUUID, plan.VisibleAll, "GPU-0,GPU-1 GPU-0,GPU-1", 0},
		{named, "", plan.VisibleOwn, "GPU-1 GPU-0", 0},
		{named, plan.DeviceIndex, plan.VisibleOwn, "1 0", 0},
		{lost, "", plan.VisibleOwn, "GPU-1", 1},
		{lost, plan.DeviceIndex, plan.VisibleOwn, "1", 2}, // CUDA may count it as 0
		{plantest.MIGWithFinding(), plan.DeviceIndex, plan.VisibleOwn, "MIG-1 MIG-2", 2},
	} {
		o := plantest.Options()
		o.DeviceID, o.Visible = c.by, c.visible
		p, err := plan.New(c.machine, o)
		if err != nil || visibleDevices(p) != c.want || len(p.Warnings) != c.warnings {
			t.Errorf("%q: %v, %q, want %q; %q", c.by, err, visibleDevices(p), c.want, p.Warnings)
		}
		for _, w := range p.Workers {
			e := w.Env
			if e["GPULAUNCH_GPU_UUID"] != w.Device.UUID || e["GPULAUNCH_GPU_INDEX"] == "" ||
				e["GPULAUNCH_GPU_PCI"] != w.Device.PCIBusID {
				t.Errorf("%q: %v", c.by, e)
			}
		}
	}
	plain.Visible.Units[1].Device.UUID = ""
	o := plantest.Options()
	o.DeviceID = plan.DeviceUUID
	if _, err := plan.New(plain, o); err == nil ||
		!strings.Contains(err.Error(), "UUID of GPU 1 (0000:02:00.0)") {
		t.Error(err)
	}
	if plain.Visible.Units[0].ID != "0" {
		t.Error("the machine was changed")
	}
}

func TestParseModes(t *testing.T) {
	for _, word := range []string{"warn", "skip", "wait", "fail", "off", "index", "uuid", "",
		"Warn"} {
		h, healthErr := plan.ParseHealthMode(word)
		b, busyErr := plan.ParseBusyMode(word)
		d, idErr := plan.ParseDeviceID(word)
		for _, c := range []struct {
			got, words string
			err        error
		}{{string(h), "warn skip fail off", healthErr}, {string(b), "warn skip wait fail", busyErr},
			{string(d), "index uuid", idErr}} {
			known := word != "" && strings.Contains(" "+c.words+" ", " "+word+" ")
			if known != (c.err == nil) || known && c.got != word {
				t.Errorf("%q of %s: %q, %v", word, c.words, c.got, c.err)
			}
		}
	}
}
