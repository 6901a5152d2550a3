//go:build linux && !nonvml

package nvml

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/gpulaunch/gpulaunch/gpu/nvml/nvmltest"
)

// healthOf is everything a GPU says of its health, or the error in place of what it does not.
func healthOf(d Device) facts {
	f := facts{}
	put := func(name string, value any, err error) {
		if err != nil {
			value = err
		}
		f[name] = value
	}
	current, pending, err := d.ECCMode()
	put("ECC mode", nvmltest.Mode{Current: current, Pending: pending}, err)
	errs, err := d.UncorrectedECCErrors()
	put("ECC errors", errs, err)
	sram, err := d.UncorrectedSRAMErrors()
	put("SRAM errors", sram, err)
	rows, err := d.RemappedRows()
	put("rows", rows, err)
	pages, err := d.RetiredPagesPending()
	put("pages", pages, err)
	fabric, err := d.Fabric()
	put("fabric", fabric, err)
	action, err := d.RecoveryAction()
	put("recovery", action, err)
	persistence, err := d.PersistenceMode()
	put("persistence", persistence, err)
	events, err := d.SupportedEvents()
	put("events", events, err)
	return f
}

// sick is a health in which each value differs from what is usual.
func sick() nvmltest.Health {
	return nvmltest.Health{
		ECCMode:        &nvmltest.Mode{Pending: true},
		ECC:            &nvmltest.ECC{VolatileCorrected: 1, VolatileUncorrected: 1 << 40, AggregateCorrected: 3, AggregateUncorrected: 4},
		RemappedRows:   &nvmltest.RemappedRows{Corrected: 1, Uncorrected: 2, Failed: true},
		RetiredPending: new(true),
		Fabric:         &nvmltest.Fabric{State: 2, Status: 17, Mask: 0x101, Summary: 3},
		RecoveryAction: new(uint32(4)),
		Persistence:    new(false),
	}
}

func TestHealth(t *testing.T) {
	m := nvmltest.EightGPUs(node0, node1).WithDevice(1, func(d *nvmltest.Device) { d.Health, d.EventTypes = sick(), 1<<40|2 })
	want := facts{
		"ECC mode": nvmltest.Mode{Pending: true}, "ECC errors": uint64(1 << 40), "SRAM errors": ErrNotSupported,
		"rows": RemappedRows{Corrected: 1, Uncorrected: 2, Failed: true}, "pages": true,
		"fabric":   FabricInfo{State: FabricInProgress, Status: ErrOperatingSystem, Health: FabricLimitedCapacity},
		"recovery": RecoveryDrainAndReset, "persistence": false, "events": EventTypes(1<<40 | 2),
	}
	if diff := cmp.Diff(want, healthOf(device(t, start(t, m), 1))); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestHealthUnknown has a card that keeps to itself, and a library that lacks every question.
func TestHealthUnknown(t *testing.T) {
	m := nvmltest.EightGPUs(node0, node1).WithDevice(1, func(d *nvmltest.Device) { d.Health, d.EventTypes = nvmltest.Health{}, 0 })
	for name, value := range healthOf(device(t, start(t, m), 1)) {
		if value != ErrNotSupported && (name != "events" || value != EventTypes(0)) {
			t.Errorf("%s = %v", name, value)
		}
	}
	m = m.Without("nvmlDeviceGetEccMode", "nvmlDeviceGetTotalEccErrors", "nvmlDeviceGetMemoryErrorCounter", "nvmlDeviceGetRemappedRows",
		"nvmlDeviceGetRetiredPagesPendingStatus", "nvmlDeviceGetGpuFabricInfo", "nvmlDeviceGetGpuFabricInfoV", "nvmlDeviceGetFieldValues",
		"nvmlDeviceGetPersistenceMode", "nvmlDeviceGetSupportedEventTypes")
	for name, value := range healthOf(device(t, start(t, m), 0)) {
		if err, ok := value.(error); !ok || !errors.Is(err, ErrFunctionNotFound) {
			t.Errorf("without the function: %s = %v", name, value)
		}
	}
}

func TestFabricVersions(t *testing.T) {
	m := nvmltest.EightGPUs(node0, node1).WithDevice(0, func(d *nvmltest.Device) { d.Health = sick() })
	whole := FabricInfo{State: FabricInProgress, Status: ErrOperatingSystem, Health: FabricLimitedCapacity}
	noHealth := whole
	noHealth.Health = FabricHealthUnknown
	second := m
	second.FabricVersion = 2
	for name, test := range map[string]struct {
		machine nvmltest.Machine
		want    FabricInfo
	}{"3": {m, whole}, "2": {second, noHealth}, "1": {m.Without("nvmlDeviceGetGpuFabricInfoV"), noHealth}} {
		if got, err := device(t, start(t, test.machine), 0).Fabric(); got != test.want || err != nil {
			t.Errorf("version %s: %+v, %v", name, got, err)
		}
	}
}

func TestRecoveryActionNotWritten(t *testing.T) {
	m := nvmltest.EightGPUs(node0, node1).With(nvmltest.Behavior{Function: "nvmlDeviceGetFieldValues", Device: 0, Action: nvmltest.Fail(0)})
	if a, err := device(t, start(t, m), 0).RecoveryAction(); !errors.Is(err, ErrUnknown) {
		t.Errorf("%v, %v", a, err)
	}
}

func TestRecoveryActionNames(t *testing.T) {
	seen := map[string]bool{}
	for a := range RecoverySystemReboot + 1 {
		seen[a.String()] = true
	}
	if len(seen) != 8 || RecoveryAction(8).String() != "unknown (8)" {
		t.Errorf("%v", seen)
	}
}

func TestProcessName(t *testing.T) {
	m, _ := withProcesses(2)
	m.Devices[0].Processes[1].Name = "/usr/bin/python3\n train.py"
	lib := start(t, m)
	if name, err := lib.ProcessName(1001); name != "/usr/bin/python3? train.py" || err != nil {
		t.Errorf("%q, %v", name, err)
	}
	if name, err := lib.ProcessName(1000); !errors.Is(err, ErrNotFound) {
		t.Errorf("%q, %v", name, err)
	}
	lib = start(t, m.With(nvmltest.Behavior{Function: "nvmlSystemGetProcessName", Device: nvmltest.AllDevices, Action: nvmltest.Garbage}))
	if name, err := lib.ProcessName(1001); len(name) != processNameSize || err != nil {
		t.Errorf("without a NUL: %d bytes, %v", len(name), err)
	}
}
