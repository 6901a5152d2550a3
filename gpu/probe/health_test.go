//go:build linux && !nonvml

package probe

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/gpulaunch/gpulaunch/gpu"
	"github.com/gpulaunch/gpulaunch/gpu/nvml/nvmltest"
)

// The tests here change GPU 2 of eight.

// changed returns eight GPUs with a change to GPU 2.
func changed(change func(*nvmltest.Device)) nvmltest.Machine {
	return eightGPUs().WithDevice(2, change)
}

// changedInstances is like changed, with GPU 2 split into instances.
func changedInstances(change func(*nvmltest.Device)) nvmltest.Machine {
	m := eightGPUs().MIG(2)
	m.Devices[2].Instances = slices.Clone(m.Devices[2].Instances)
	return m.WithDevice(2, change)
}

// changedHealth returns eight GPUs with a change to the health of GPU 2.
func changedHealth(change func(*nvmltest.Health)) nvmltest.Machine {
	return changed(func(d *nvmltest.Device) { change(&d.Health) })
}

// withFabric2 returns the machine with a driver that knows version 2 of the fabric's struct.
func withFabric2(m nvmltest.Machine) nvmltest.Machine {
	m.FabricVersion = 2
	return m
}

// failing returns eight GPUs with a function that fails for GPU 2.
func failing(function string, code int) nvmltest.Machine {
	return eightGPUs().With(nvmltest.Fail(code).InDevice(function, 2))
}

func TestFindings(t *testing.T) {
	fabric := func(f nvmltest.Fabric) nvmltest.Machine {
		return changedHealth(func(h *nvmltest.Health) { h.Fabric = &f })
	}
	rows := func(r nvmltest.RemappedRows) nvmltest.Machine {
		return changedHealth(func(h *nvmltest.Health) { h.RemappedRows = &r })
	}
	recovery := func(action uint32) nvmltest.Machine {
		return changedHealth(func(h *nvmltest.Health) { h.RecoveryAction = &action })
	}
	clocks := func(reasons uint64) nvmltest.Machine {
		return changedHealth(func(h *nvmltest.Health) { h.ClockReasons = &reasons })
	}
	const (
		reset  = "nvidia-smi --gpu-reset -i 0000:52:00.0"
		isLost = "GPU is lost (code 15)"
	)
	for name, test := range map[string]struct {
		machine            nvmltest.Machine
		code, text, remedy string
	}{
		"lost": {eightGPUs().LostGPU(2), gpu.CodeLost, isLost, "power-cycle"},
		"lost later": {failing("nvmlDeviceGetRetiredPagesPendingStatus", 15),
			gpu.CodeLost, isLost, "power-cycle"},
		"needs a reset": {failing("nvmlDeviceGetMemoryInfo*", 16),
			gpu.CodeResetRequired, "GPU needs a reset (code 16)", reset},
		"ECC": {
			changedHealth(func(h *nvmltest.Health) {
				h.ECC = &nvmltest.ECC{VolatileUncorrected: 3}
			}),
			gpu.CodeECCUncorrected, "3 uncorrectable memory errors since the last reset", reset,
		},
		"ECC of instances": {
			changedInstances(func(d *nvmltest.Device) {
				d.Instances[0].SRAMErrors, d.Instances[2].SRAMErrors = 4, 3
			}),
			gpu.CodeECCUncorrected, "7 uncorrectable memory errors", reset,
		},
		"remap pending": {
			rows(nvmltest.RemappedRows{Uncorrected: 2, Corrected: 5, Pending: true}),
			gpu.CodeRowRemapPending, "waits to be remapped, " +
				"2 remapped so far after uncorrectable and 5 after correctable errors", reset,
		},
		"remap failed": {rows(nvmltest.RemappedRows{Failed: true}),
			gpu.CodeRowRemapFailed, "could not be remapped", "replaced"},
		"pages": {
			changedHealth(func(h *nvmltest.Health) { h.RetiredPending = new(true) }),
			gpu.CodeRetiredPagesPending, "pages wait to be retired", reset,
		},

		"fabric not started": {fabric(nvmltest.Fabric{State: 1}),
			gpu.CodeFabricNotReady, "has not started", "nvidia-fabricmanager"},
		"fabric in progress": {fabric(nvmltest.Fabric{State: 2}),
			gpu.CodeFabricNotReady, "is still in progress", "nvidia-fabricmanager"},
		"fabric failed": {fabric(nvmltest.Fabric{State: 3, Status: 17}),
			gpu.CodeFabricNotReady, "(code 17)", "nvidia-fabricmanager"},
		"fabric unhealthy": {fabric(nvmltest.Fabric{State: 3, Summary: 2}),
			gpu.CodeFabricNotReady, "unhealthy", "nvidia-fabricmanager"},

		"fabric limited": {fabric(nvmltest.Fabric{State: 3, Summary: 3}),
			gpu.CodeFabricLimited, "limited capacity", "nvidia-fabricmanager"},
		"fabric degraded": {fabric(nvmltest.Fabric{State: 3, Summary: 3, Mask: 1}),
			gpu.CodeFabricLimited, "limited capacity: the bandwidth is degraded",
			"nvidia-fabricmanager"},
		"fabric route": {fabric(nvmltest.Fabric{State: 3, Summary: 2, Mask: 1 << 4}),
			gpu.CodeFabricNotReady, "unhealthy: a route is unhealthy", "nvidia-fabricmanager"},
		"fabric degraded, version 2": {
			withFabric2(fabric(nvmltest.Fabric{State: 3, Mask: 1})),
			gpu.CodeFabricLimited, "the bandwidth is degraded", "nvidia-fabricmanager"},
		"fabric configuration, version 2": {
			withFabric2(fabric(nvmltest.Fabric{State: 3, Mask: 4 << 8})),
			gpu.CodeFabricNotReady, "no partition", "nvidia-fabricmanager"},

		"SRAM threshold": {
			changedHealth(func(h *nvmltest.Health) { h.SRAMThreshold = new(true) }),
			gpu.CodeSRAMThreshold, "more uncorrectable errors", "replaced"},
		"spare rows": {
			changedHealth(func(h *nvmltest.Health) {
				h.SpareRows = &nvmltest.SpareRows{All: 630, High: 4, Partial: 2, Low: 1, None: 3}
			}),
			gpu.CodeSpareRowsExhausted, "3 of 640 memory banks have no spare row left",
			"replaced"},
		"hot":         {clocks(0x48), gpu.CodeHardwareSlowdown, "too hot", "fans"},
		"hot, idle":   {clocks(0x41), gpu.CodeHardwareSlowdown, "too hot", "fans"},
		"power brake": {clocks(0x88), gpu.CodeHardwareSlowdown, "power brake", "power supplies"},
		"slowdown": {clocks(0x8), gpu.CodeHardwareSlowdown, "slows the GPU down",
			"nvidia-smi -q -d PERFORMANCE"},

		"no permission": {failing("nvmlDeviceGetHandleByIndex*", 4),
			gpu.CodeInaccessible, "no permission (code 4)", "permissions of /dev/nvidia"},
		"power cables": {failing("nvmlDeviceGetHandleByIndex*", 8),
			gpu.CodeInaccessible, "power cables not attached properly (code 8)", "cables"},
		"interrupts": {failing("nvmlDeviceGetHandleByIndex*", 11),
			gpu.CodeInaccessible, "interrupt problem with a GPU (code 11)", "interrupt"},
		"unknown error": {failing("nvmlDeviceGetHandleByIndex*", 999),
			gpu.CodeInaccessible, "unknown error (code 999)", "dmesg"},

		"prohibited": {
			changed(func(d *nvmltest.Device) { d.ComputeMode = 2 }),
			gpu.CodeComputeProhibited, "prohibited",
			"nvidia-smi -i 0000:52:00.0 --compute-mode=DEFAULT",
		},
		"exclusive": {
			changed(func(d *nvmltest.Device) {
				d.ComputeMode = 3
				d.Processes = []nvmltest.Process{{
					PID: 999999999, Used: 3 << 30, Name: "/usr/bin/python3 --token=secret",
				}}
			}),
			gpu.CodeExclusiveAndBusy,
			"exclusive-process and process 999999999 (python3, 3.0 GiB) uses the GPU", "wait",
		},

		"recovery reset": {recovery(1), gpu.CodeRecoveryAction, "GPU reset", reset},
		"recovery reboot": {recovery(2),
			gpu.CodeRecoveryAction, "node reboot", "reboot the machine"},
		"recovery drain": {recovery(3),
			gpu.CodeRecoveryAction, "drain peer-to-peer", "several GPUs"},
		"recovery IMEX": {recovery(5), gpu.CodeRecoveryAction, "IMEX", "nvidia-imex"},
		"recovery new":  {recovery(77), gpu.CodeRecoveryAction, "unknown (77)", "nvidia-smi -q"},
	} {
		t.Run(name, func(t *testing.T) {
			devices := discover(t, install(t, test.machine)).Devices
			for i, d := range devices {
				if i != 2 && !d.Healthy() {
					t.Errorf("GPU %d is not healthy: %+v", i, d.Findings)
				}
			}
			d := devices[2]
			if d.Healthy() {
				t.Error("GPU 2 is healthy")
			}
			if len(d.Findings) != 1 {
				t.Fatalf("findings %+v, want one", d.Findings)
			}
			f := d.Findings[0]
			if f.Code != test.code {
				t.Errorf("the code is %q, want %q", f.Code, test.code)
			}
			if !strings.Contains(f.Text, test.text) {
				t.Errorf("the text %q does not contain %q", f.Text, test.text)
			}
			if !strings.Contains(f.Remedy, test.remedy) {
				t.Errorf("the remedy %q does not contain %q", f.Remedy, test.remedy)
			}
			isProblem := f.Code == gpu.CodeLost || f.Code == gpu.CodeResetRequired ||
				f.Code == gpu.CodeInaccessible
			if f.Code == gpu.CodeInaccessible && strings.Contains(f.Text, "permission") &&
				strings.Contains(f.Remedy, "dmesg") {
				t.Errorf("the kernel's log does not tell of permissions: %q", f.Remedy)
			}
			if d.Usable() == isProblem {
				t.Errorf("the problem is %q with the finding %+v", d.Problem, f)
			}
			if isProblem && d.Problem != f.Text {
				t.Errorf("the problem is %q, want the text of the finding, %q", d.Problem, f.Text)
			}
		})
	}
}

// TestNothingFound has values that are not a reason to worry.
func TestNothingFound(t *testing.T) {
	health := func(h nvmltest.Health) nvmltest.Machine {
		return changed(func(d *nvmltest.Device) { d.Health = h })
	}
	for name, m := range map[string]nvmltest.Machine{
		"nothing known": health(nvmltest.Health{}),
		"corrected": health(nvmltest.Health{ECC: &nvmltest.ECC{
			VolatileCorrected: 9, AggregateCorrected: 9, AggregateUncorrected: 9,
		}}),
		"remapped": health(nvmltest.Health{
			RemappedRows: &nvmltest.RemappedRows{Corrected: 1, Uncorrected: 1},
		}),
		"retired": health(nvmltest.Health{RetiredPending: new(false)}),
		"no fabric": health(nvmltest.Health{
			Fabric: &nvmltest.Fabric{State: 0, Status: 17, Summary: 2},
		}),
		"fabric without problems": health(nvmltest.Health{
			Fabric: &nvmltest.Fabric{State: 3, Summary: 1, Mask: 0x51aa},
		}),
		"not in the fabric yet known to be limited": health(nvmltest.Health{
			Fabric: &nvmltest.Fabric{State: 0, Summary: 3, Mask: 1},
		}),
		"spare rows":          health(nvmltest.Health{SpareRows: &nvmltest.SpareRows{All: 1, Low: 639}}),
		"SRAM":                health(nvmltest.Health{SRAMThreshold: new(false)}),
		"software slowdown":   health(nvmltest.Health{ClockReasons: new(uint64(0x4 | 0x20))}),
		"idle, clocks change": health(nvmltest.Health{ClockReasons: new(uint64(0x8 | 0x1))}),
		"exclusive":           changed(func(d *nvmltest.Device) { d.ComputeMode = 3 }),
		"busy": changed(func(d *nvmltest.Device) {
			d.Processes = []nvmltest.Process{{PID: 999999999}}
		}),
		"MIG":        eightGPUs().MIG(2),
		"old driver": eightGPUs().OldDriver(),
	} {
		for i, d := range discover(t, install(t, m)).Devices {
			if !d.Healthy() {
				t.Errorf("%s: GPU %d is not healthy: %+v", name, i, d)
			}
		}
	}
}

// TestFindingsTogether also checks their order.
func TestFindingsTogether(t *testing.T) {
	m := changed(func(d *nvmltest.Device) {
		d.ComputeMode = 2
		d.Health.ECC = &nvmltest.ECC{VolatileUncorrected: 1}
		d.Health.RemappedRows = &nvmltest.RemappedRows{Pending: true, Failed: true}
		d.Health.RetiredPending = new(true)
		d.Health.Fabric = &nvmltest.Fabric{State: 1}
		d.Health.RecoveryAction = new(uint32(4))
		d.Health.Persistence, d.Health.ECCMode = new(false), &nvmltest.Mode{Pending: true}
	})
	d := discover(t, install(t, m)).Devices[2]
	var codes []string
	for _, f := range d.Findings {
		codes = append(codes, f.Code)
		if strings.Contains(f.Text+f.Remedy, "\n") {
			t.Errorf("the text or the remedy is not one line: %+v", f)
		}
	}
	want := []string{
		gpu.CodeECCUncorrected, gpu.CodeRowRemapPending, gpu.CodeRowRemapFailed,
		gpu.CodeRetiredPagesPending, gpu.CodeFabricNotReady, gpu.CodeComputeProhibited,
		gpu.CodeRecoveryAction,
	}
	if diff := cmp.Diff(want, codes); diff != "" {
		t.Errorf("codes (-want +got):\n%s", diff)
	}
	if *d.Persistence {
		t.Error("persistence mode is on, want off")
	}
	if *d.ECC {
		t.Error("ECC is on, want off")
	}
}

func TestMIGProfile(t *testing.T) {
	m := changedInstances(func(d *nvmltest.Device) {
		d.Instances[0].Name, d.Instances[0].ComputeSlices = "NVIDIA H100", 2
		d.Instances[2].Name, d.Instances[2].GPUSlices = "NVIDIA H100", 0
	})
	instances := discover(t, install(t, m)).Devices[2].MIGInstances
	if len(instances) != 2 {
		t.Fatalf("instances %+v, want two", instances)
	}
	if got, want := instances[0].Profile, "2c.3g.40gb"; got != want {
		t.Errorf("the first profile is %q, want %q", got, want)
	}
	if got := instances[1].Profile; got != "" {
		t.Errorf("without attributes the profile is %q, want none", got)
	}
}
