//go:build linux

package hardware

import (
	"strings"
	"testing"
	"time"

	"github.com/gpulaunch/gpulaunch/gpu/nvml/nvmltest"
	"github.com/gpulaunch/gpulaunch/launcher/launchertest"
)

// mixed returns a machine of different GPUs: one is in exclusive mode, one has no ECC and no
// persistence mode, and one has no MIG mode and another PCI domain.
func mixed() nvmltest.Machine {
	m := eight().WithDevice(1, func(d *nvmltest.Device) { d.ComputeMode = 3 })
	m = m.WithDevice(2, func(d *nvmltest.Device) {
		d.Health.ECCMode, d.Health.Persistence = nil, new(false)
	})
	return m.WithDevice(7, func(d *nvmltest.Device) { d.MIGCapable, d.Domain = false, 0x10000 })
}

// TestDryRun runs the suite with fake GPUs, without the requirements that need real ones.
func TestDryRun(t *testing.T) {
	for _, p := range suite {
		if p.real {
			continue // TestHardware has it
		}
		t.Run(p.name, func(t *testing.T) {
			p.run(t, newFakeRig(t, eight()).withPython(t).rig)
		})
	}
	t.Run("a machine of different GPUs", func(t *testing.T) {
		suite[0].run(t, newFakeRig(t, mixed()).rig)
	})
	t.Run("a GPU in MIG mode", func(t *testing.T) {
		suite[0].run(t, newFakeRig(t, eight().MIG(3)).rig)
	})
}

// fabrications are changes to GPU 5 that only nvidia-smi is told about, by the comparison that must
// notice them.
var fabrications = map[string]func(d *nvmltest.Device){
	"uuid":             func(d *nvmltest.Device) { d.UUID = d.UUID[:len(d.UUID)-1] + "f" },
	"name":             func(d *nvmltest.Device) { d.Name += "e" },
	"pci.bus_id":       func(d *nvmltest.Device) { d.Domain = 1 },
	"memory.total":     func(d *nvmltest.Device) { d.Memory.Total += 2 << 20 },
	"compute_mode":     func(d *nvmltest.Device) { d.ComputeMode = 3 },
	"persistence_mode": func(d *nvmltest.Device) { d.Health.Persistence = nil },
	"ecc.mode.current": func(d *nvmltest.Device) { d.Health.ECCMode = &nvmltest.Mode{} },
	"mig.mode.current": func(d *nvmltest.Device) { d.MIG = true },
}

// TestDryRunFindsDifferences is the negative control of the inventory: nvidia-smi describes a
// machine that differs in one fact, and the comparison must find that fact alone.
func TestDryRunFindsDifferences(t *testing.T) {
	u := newFakeRig(t, eight())
	u.patience = 0
	const driver = "550.54.15"
	machines := map[string]nvmltest.Machine{
		"number of GPUs": {DriverVersion: driver, CUDAVersion: 12040, Devices: eight().Devices[:7]},
		"CUDA version":   {DriverVersion: driver, CUDAVersion: 12050, Devices: eight().Devices},
	}
	for field, change := range fabrications {
		machines["GPU 5 "+field] = eight().WithDevice(5, change)
	}
	for name, machine := range machines {
		t.Run(name, func(t *testing.T) {
			u.setSMI(t, machine)
			list, err := inventoryAgrees(t, u.rig)
			if err != nil {
				t.Fatal(err)
			}
			wantOnly(t, list, name)
		})
	}
}

// TestDryRunFindsOtherFigures is the negative control of the samples: one of them differs by more
// than two samples may.
func TestDryRunFindsOtherFigures(t *testing.T) {
	u := newFakeRig(t, eight())
	u.patience = 2 * time.Second
	u.setSMI(t, eight().WithDevice(5, func(d *nvmltest.Device) { d.PowerLimit += 2000 }))
	list, err := samplesAgree(t, u.rig)
	if err != nil {
		t.Fatal(err)
	}
	wantOnly(t, list, "GPU 5 enforced.power.limit")
}

func wantOnly(t *testing.T, list []comparison, name string) {
	t.Helper()
	found := differences(list)
	if len(found) != 1 || found[0].name != name {
		t.Errorf("%d comparisons found the differences %v, want %s alone", len(list), found, name)
	}
}

// TestDryRunFindsFaults is the negative control of the other requirements: on machines that do not
// meet them, they must say what is wrong.
func TestDryRunFindsFaults(t *testing.T) {
	for name, c := range map[string]struct {
		check  func(*testing.T, rig) error
		change func(*fakeRig)
		want   string
	}{
		"memory does not appear": {memoryAppears, func(u *fakeRig) {
			u.showAllocated = nil
		}, "memory_used_bytes went from"},
		"something is left": {nothingLeft("die"), func(u *fakeRig) {
			show := u.showAllocated
			u.showAllocated = func(list []report) {
				if list != nil {
					show(list)
				}
			}
		}, "has ended, but"},
		"other devices": {eachPinned, func(u *fakeRig) {
			other := u.machine.WithDevice(2, func(d *nvmltest.Device) {
				d.UUID = "GPU-00000000-0000-0000-0000-000000000000"
			})
			u.setCUDA(t, other)
		}, "rank 2 is given"},
		"no events": {eventsRegistered, func(u *fakeRig) {
			u.patience = launchertest.Patience
			nvmltest.Change(t, u.library, u.machine.With(nvmltest.Behavior{
				Function: "nvmlDeviceRegisterEvents", Device: 4, Action: nvmltest.Fail(999),
			}))
		}, "unknown error"},
		// The fake driver opens no file in /dev, so gpulaunch cannot notice that it is initialised.
		"a preload passes": {preloadRefused, func(*fakeRig) {}, "the exit code is 0"},
		"no device": {verified, func(u *fakeRig) {
			nvmltest.Change(t, u.library, nvmltest.Machine{})
		}, "nothing was verified"},
	} {
		t.Run(name, func(t *testing.T) {
			u := newFakeRig(t, eight()).withPython(t)
			u.patience = time.Second
			c.change(u)
			err := c.check(t, u.rig)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("the error is %v, want one with %q", err, c.want)
			}
		})
	}
}
