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

// sick is eight GPUs of which the third is changed.
func sick(change func(*nvmltest.Device)) nvmltest.Machine {
	return eight().WithDevice(2, change)
}

// parted is sick with the third GPU cut into instances.
func parted(change func(*nvmltest.Device)) nvmltest.Machine {
	m := eight().MIG(2)
	m.Devices[2].Instances = slices.Clone(m.Devices[2].Instances)
	return m.WithDevice(2, change)
}

func failing(function string, code int) nvmltest.Machine {
	return eight().With(nvmltest.Behavior{Function: function, Device: 2, Action: nvmltest.Fail(code)})
}

func TestFindings(t *testing.T) {
	health := func(change func(*nvmltest.Health)) nvmltest.Machine {
		return sick(func(d *nvmltest.Device) { change(&d.Health) })
	}
	fabric := func(f nvmltest.Fabric) nvmltest.Machine { return health(func(h *nvmltest.Health) { h.Fabric = &f }) }
	const reset = "nvidia-smi --gpu-reset -i 0000:52:00.0"
	for name, test := range map[string]struct {
		machine            nvmltest.Machine
		code, text, remedy string
	}{
		"lost":          {eight().LostGPU(2), gpu.CodeLost, "GPU is lost (code 15)", "power-cycle"},
		"lost later":    {failing("nvmlDeviceGetRetiredPagesPendingStatus", 15), gpu.CodeLost, "GPU is lost (code 15)", "power-cycle"},
		"needs a reset": {failing("nvmlDeviceGetMemoryInfo*", 16), gpu.CodeResetRequired, "GPU needs a reset (code 16)", reset},
		"ECC": {health(func(h *nvmltest.Health) { h.ECC = &nvmltest.ECC{VolatileUncorrected: 3} }), gpu.CodeECCUncorrected,
			"3 uncorrectable memory errors since the last reset", reset},
		"ECC of instances": {parted(func(d *nvmltest.Device) { d.Instances[0].SRAMErrors, d.Instances[2].SRAMErrors = 4, 3 }),
			gpu.CodeECCUncorrected, "7 uncorrectable memory errors", reset},
		"remap pending": {health(func(h *nvmltest.Health) {
			h.RemappedRows = &nvmltest.RemappedRows{Uncorrected: 2, Corrected: 5, Pending: true}
		}),
			gpu.CodeRowRemapPending, "waits to be remapped, 2 remapped so far after uncorrectable and 5 after correctable errors", reset},
		"remap failed": {health(func(h *nvmltest.Health) { h.RemappedRows = &nvmltest.RemappedRows{Failed: true} }), gpu.CodeRowRemapFailed,
			"could not be remapped", "replaced"},
		"pages": {health(func(h *nvmltest.Health) { h.RetiredPending = new(true) }), gpu.CodeRetiredPagesPending, "pages wait to be retired", reset},

		"fabric not started": {fabric(nvmltest.Fabric{State: 1}), gpu.CodeFabricNotReady, "has not started", "nvidia-fabricmanager"},
		"fabric in progress": {fabric(nvmltest.Fabric{State: 2}), gpu.CodeFabricNotReady, "is still in progress", "nvidia-fabricmanager"},
		"fabric failed":      {fabric(nvmltest.Fabric{State: 3, Status: 17}), gpu.CodeFabricNotReady, "(code 17)", "nvidia-fabricmanager"},
		"fabric unhealthy":   {fabric(nvmltest.Fabric{State: 3, Summary: 2}), gpu.CodeFabricNotReady, "unhealthy", "nvidia-fabricmanager"},

		"prohibited": {sick(func(d *nvmltest.Device) { d.ComputeMode = 2 }), gpu.CodeComputeProhibited, "prohibited", "nvidia-smi -i 0000:52:00.0 --compute-mode=DEFAULT"},
		"exclusive": {sick(func(d *nvmltest.Device) {
			d.ComputeMode = 3
			d.Processes = []nvmltest.Process{{PID: 999999999, Used: 3 << 30, Name: "/usr/bin/python3 --token=secret"}}
		}), gpu.CodeExclusiveAndBusy, "exclusive-process and process 999999999 (python3, 3.0 GiB) has it", "wait"},
		"recovery reset":  {health(func(h *nvmltest.Health) { h.RecoveryAction = new(uint32(1)) }), gpu.CodeRecoveryAction, "GPU reset", reset},
		"recovery reboot": {health(func(h *nvmltest.Health) { h.RecoveryAction = new(uint32(2)) }), gpu.CodeRecoveryAction, "node reboot", "reboot the machine"},
		"recovery drain":  {health(func(h *nvmltest.Health) { h.RecoveryAction = new(uint32(3)) }), gpu.CodeRecoveryAction, "drain peer-to-peer", "several GPUs"},
		"recovery IMEX":   {health(func(h *nvmltest.Health) { h.RecoveryAction = new(uint32(5)) }), gpu.CodeRecoveryAction, "IMEX", "nvidia-imex"},
		"recovery new":    {health(func(h *nvmltest.Health) { h.RecoveryAction = new(uint32(77)) }), gpu.CodeRecoveryAction, "unknown (77)", "nvidia-smi -q"},
	} {
		t.Run(name, func(t *testing.T) {
			for i, d := range discover(t, installed(t, test.machine)).Devices {
				if i != 2 {
					if !d.Healthy() {
						t.Errorf("GPU %d: %+v", i, d.Findings)
					}
					continue
				}
				if len(d.Findings) != 1 || d.Healthy() {
					t.Fatalf("findings %+v", d.Findings)
				}
				f := d.Findings[0]
				if f.Code != test.code || !strings.Contains(f.Text, test.text) || !strings.Contains(f.Remedy, test.remedy) {
					t.Errorf("got %+v", f)
				}
				if lost := f.Code == gpu.CodeLost || f.Code == gpu.CodeResetRequired; lost == d.Usable() || lost && d.Problem != f.Text {
					t.Errorf("problem %q with %+v", d.Problem, f)
				}
			}
		})
	}
}

// TestNothingFound has values that are no reason to worry.
func TestNothingFound(t *testing.T) {
	health := func(h nvmltest.Health) nvmltest.Machine { return sick(func(d *nvmltest.Device) { d.Health = h }) }
	for name, m := range map[string]nvmltest.Machine{
		"nothing known":     health(nvmltest.Health{}),
		"corrected":         health(nvmltest.Health{ECC: &nvmltest.ECC{VolatileCorrected: 9, AggregateCorrected: 9, AggregateUncorrected: 9}}),
		"remapped":          health(nvmltest.Health{RemappedRows: &nvmltest.RemappedRows{Corrected: 1, Uncorrected: 1}}),
		"retired":           health(nvmltest.Health{RetiredPending: new(false)}),
		"no fabric":         health(nvmltest.Health{Fabric: &nvmltest.Fabric{State: 0, Status: 17, Summary: 2}}),
		"fabric is smaller": health(nvmltest.Health{Fabric: &nvmltest.Fabric{State: 3, Summary: 3}}),
		"exclusive":         sick(func(d *nvmltest.Device) { d.ComputeMode = 3 }),
		"busy":              sick(func(d *nvmltest.Device) { d.Processes = []nvmltest.Process{{PID: 999999999}} }),
		"MIG":               eight().MIG(2),
		"old driver":        eight().OldDriver(),
	} {
		for i, d := range discover(t, installed(t, m)).Devices {
			if !d.Healthy() {
				t.Errorf("%s: GPU %d: %+v", name, i, d)
			}
		}
	}
}

// TestFindingsTogether also shows the order.
func TestFindingsTogether(t *testing.T) {
	m := sick(func(d *nvmltest.Device) {
		d.ComputeMode = 2
		d.Health.ECC = &nvmltest.ECC{VolatileUncorrected: 1}
		d.Health.RemappedRows = &nvmltest.RemappedRows{Pending: true, Failed: true}
		d.Health.RetiredPending = new(true)
		d.Health.Fabric = &nvmltest.Fabric{State: 1}
		d.Health.RecoveryAction = new(uint32(4))
		d.Health.Persistence, d.Health.ECCMode = new(false), &nvmltest.Mode{Pending: true}
	})
	d := discover(t, installed(t, m)).Devices[2]
	var codes []string
	for _, f := range d.Findings {
		codes = append(codes, f.Code)
		if strings.Contains(f.Text+f.Remedy, "\n") {
			t.Errorf("not one line each: %+v", f)
		}
	}
	want := []string{gpu.CodeECCUncorrected, gpu.CodeRowRemapPending, gpu.CodeRowRemapFailed, gpu.CodeRetiredPagesPending, gpu.CodeFabricNotReady,
		gpu.CodeComputeProhibited, gpu.CodeRecoveryAction}
	if diff := cmp.Diff(want, codes); diff != "" {
		t.Error(diff)
	}
	if *d.Persistence || *d.ECC {
		t.Errorf("persistence %v, ECC %v", *d.Persistence, *d.ECC)
	}
}

// TestAttachFails is a GPU that is unusable and yet not lost.
func TestAttachFails(t *testing.T) {
	d := discover(t, installed(t, failing("nvmlDeviceGetHandleByIndex*", 4))).Devices[2]
	if d.Healthy() || d.Usable() || len(d.Findings) != 0 {
		t.Errorf("got %+v", d)
	}
}

func TestUnusableIsNotHealthy(t *testing.T) {
	if (gpu.Device{Problem: gpu.ProblemNoInstance}).Healthy() || !(gpu.Device{}).Healthy() {
		t.Error("a GPU without instances is healthy, or one without findings is not")
	}
}

func TestMIGProfile(t *testing.T) {
	m := parted(func(d *nvmltest.Device) {
		d.Instances[0].Name, d.Instances[0].ComputeSlices = "NVIDIA H100", 2
		d.Instances[2].Name, d.Instances[2].GPUSlices = "NVIDIA H100", 0
	})
	instances := discover(t, installed(t, m)).Devices[2].MIGInstances
	if len(instances) != 2 || instances[0].Profile != "2c.3g.40gb" || instances[1].Profile != "" {
		t.Errorf("got %+v", instances)
	}
}
