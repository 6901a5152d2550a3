//go:build linux && !nonvml

package nvml

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/gpulaunch/gpulaunch/gpu/nvml/nvmltest"
)

// sickHealth returns a health in which each value differs from the usual one.
func sickHealth() nvmltest.Health {
	return nvmltest.Health{
		ECCMode: &nvmltest.Mode{Pending: true},
		ECC: &nvmltest.ECC{
			VolatileCorrected: 1, VolatileUncorrected: 1 << 40,
			AggregateCorrected: 3, AggregateUncorrected: 4,
		},
		RemappedRows:   &nvmltest.RemappedRows{Corrected: 1, Uncorrected: 2, Failed: true},
		RetiredPending: new(true),
		SRAMThreshold:  new(true),
		SpareRows:      &nvmltest.SpareRows{All: 1, High: 2, Partial: 3, Low: 4, None: 5},
		ClockReasons:   new(uint64(0x48)),
		Fabric:         &nvmltest.Fabric{State: 2, Status: 17, Mask: 0x101, Summary: 3},
		RecoveryAction: new(uint32(4)),
		Persistence:    new(false),
	}
}

// withHealth returns eight GPUs of which one has another health and other events.
func withHealth(i int, h nvmltest.Health, eventTypes uint64) nvmltest.Machine {
	return eightGPUs().WithDevice(i, func(d *nvmltest.Device) {
		d.Health, d.EventTypes = h, eventTypes
	})
}

func TestHealth(t *testing.T) {
	want := facts{
		"ECC mode": [2]bool{false, true}, "ECC errors": uint64(1 << 40),
		"SRAM errors": ErrNotSupported,
		"rows":        RemappedRows{Corrected: 1, Uncorrected: 2, Failed: true},
		"pages":       true,
		"fabric": FabricInfo{
			State: FabricInProgress, Status: ErrOperatingSystem, Health: FabricLimitedCapacity,
			Mask: 0x101,
		},
		"SRAM threshold": true, "spare rows": SpareRows{1, 2, 3, 4, 5},
		"clock reasons": ReasonHardwareSlowdown | ReasonHardwareThermal,
		"recovery":      RecoveryDrainAndReset, "persistence": false,
		"event types": EventTypes(1<<40 | 2),
	}
	lib := start(t, withHealth(1, sickHealth(), 1<<40|2))
	if diff := cmp.Diff(want, healthFacts(device(t, lib, 1))); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestHealthUnknown has a card that supports no question, and a library that lacks every
// function.
func TestHealthUnknown(t *testing.T) {
	m := withHealth(1, nvmltest.Health{}, 0)
	for name, value := range healthFacts(device(t, start(t, m), 1)) {
		var want any = ErrNotSupported
		if name == "event types" {
			want = EventTypes(0)
		}
		if value != want {
			t.Errorf("%s is %v, want %v", name, value, want)
		}
	}
	m = m.Without("nvmlDeviceGetEccMode", "nvmlDeviceGetTotalEccErrors",
		"nvmlDeviceGetMemoryErrorCounter", "nvmlDeviceGetRemappedRows",
		"nvmlDeviceGetRowRemapperHistogram", "nvmlDeviceGetSramEccErrorStatus",
		"nvmlDeviceGetCurrentClocksEventReasons", "nvmlDeviceGetCurrentClocksThrottleReasons",
		"nvmlDeviceGetRetiredPagesPendingStatus", "nvmlDeviceGetGpuFabricInfo",
		"nvmlDeviceGetGpuFabricInfoV", "nvmlDeviceGetFieldValues", "nvmlDeviceGetPersistenceMode",
		"nvmlDeviceGetSupportedEventTypes")
	for name, value := range healthFacts(device(t, start(t, m), 0)) {
		if err, ok := value.(error); !ok || !errors.Is(err, ErrFunctionNotFound) {
			t.Errorf("without the function, %s is %v, want ErrFunctionNotFound", name, value)
		}
	}
}

func TestFabricVersions(t *testing.T) {
	m := withHealth(0, sickHealth(), 0)
	want := FabricInfo{
		State: FabricInProgress, Status: ErrOperatingSystem, Health: FabricLimitedCapacity,
		Mask: 0x101,
	}
	withoutHealth := want
	withoutHealth.Health = FabricHealthUnknown
	withoutMask := withoutHealth
	withoutMask.Mask = 0
	second := m
	second.FabricVersion = 2
	for version, test := range map[string]struct {
		machine nvmltest.Machine
		want    FabricInfo
	}{
		"3": {m, want},
		"2": {second, withoutHealth},
		"1": {m.Without("nvmlDeviceGetGpuFabricInfoV"), withoutMask},
	} {
		got, err := device(t, start(t, test.machine), 0).Fabric()
		if got != test.want || err != nil {
			t.Errorf("version %s: Fabric() = %+v, %v; want %+v", version, got, err, test.want)
		}
	}
}

// TestFabricMask has NVML_GPU_FABRIC_HEALTH_MASK_* as nvml.h defines them.
func TestFabricMask(t *testing.T) {
	for mask, want := range map[FabricMask][2]string{
		0:                      {"", ""},
		2 | 2<<2 | 2<<4 | 2<<6: {"", ""}, // all are false
		1 << 8:                 {"", ""}, // the configuration is correct
		1 << 12:                {"", ""}, // a partition is assigned
		1:                      {"", "the bandwidth is degraded"},
		1 << 2:                 {"", "a route is being recovered"},
		1 << 4:                 {"a route is unhealthy", ""},
		1 << 6:                 {"", "an access timeout is being recovered from"},
		2 << 8:                 {"the configuration is incorrect: system GUID", ""},
		8 << 8:                 {"the configuration is incorrect: invalid state of the GPU", ""},
		9 << 8:                 {"the configuration is incorrect (9)", ""},
		1 | 1<<2 | 1<<4 | 5<<8: {
			"a route is unhealthy, the configuration is incorrect: too few NVLinks",
			"the bandwidth is degraded, a route is being recovered",
		},
	} {
		if broken, limited := mask.Problems(); broken != want[0] || limited != want[1] {
			t.Errorf("%#x: %q, %q, want %q", uint32(mask), broken, limited, want)
		}
	}
}

// TestClockReasonsOfOldDrivers checks that the function's former name is used.
func TestClockReasonsOfOldDrivers(t *testing.T) {
	m := withHealth(1, sickHealth(), 0).Without("nvmlDeviceGetCurrentClocksEventReasons")
	got, err := device(t, start(t, m), 1).ClockReasons()
	if want := ReasonHardwareSlowdown | ReasonHardwareThermal; got != want || err != nil {
		t.Errorf("%#x, %v, want %#x", uint64(got), err, uint64(want))
	}
}

func TestRecoveryActionNotWritten(t *testing.T) {
	m := eightGPUs().With(nvmltest.Fail(0).InDevice("nvmlDeviceGetFieldValues", 0))
	if a, err := device(t, start(t, m), 0).RecoveryAction(); !errors.Is(err, ErrUnknown) {
		t.Errorf("RecoveryAction() = %v, %v; want ErrUnknown", a, err)
	}
}

func TestRecoveryActionNames(t *testing.T) {
	names := map[string]bool{}
	for a := range RecoverySystemReboot + 1 {
		names[a.String()] = true
	}
	if len(names) != 8 {
		t.Errorf("8 actions have the names %v", names)
	}
	if got, want := RecoveryAction(8).String(), "unknown (8)"; got != want {
		t.Errorf("an unknown action is called %q, want %q", got, want)
	}
}

func TestProcessName(t *testing.T) {
	m, _ := withProcesses(2)
	m.Devices[0].Processes[1].Name = "/usr/bin/python3\n train.py"
	lib := start(t, m)
	name, err := lib.ProcessName(1001)
	if want := "/usr/bin/python3? train.py"; name != want || err != nil {
		t.Errorf("ProcessName(1001) = %q, %v; want %q", name, err, want)
	}
	if name, err := lib.ProcessName(1000); !errors.Is(err, ErrNotFound) {
		t.Errorf("ProcessName(1000) = %q, %v; want ErrNotFound", name, err)
	}
	lib = start(t, m.With(nvmltest.Garbage.In("nvmlSystemGetProcessName")))
	if name, err := lib.ProcessName(1001); len(name) != processNameSize || err != nil {
		t.Errorf("without a NUL: %d bytes, %v; want %d", len(name), err, processNameSize)
	}
}
