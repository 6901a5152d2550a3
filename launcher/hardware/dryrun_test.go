//go:build linux

package hardware

import (
	"strings"
	"testing"
	"time"

	"github.com/gpulaunch/gpulaunch/gpu/nvml/nvmltest"
	"github.com/gpulaunch/gpulaunch/launcher/launchertest"
)

// mixed is a machine with a GPU in exclusive mode, one without ECC and persistence
// mode, and one that cannot be split and has another domain.
func mixed() nvmltest.Machine {
	m := eight().WithDevice(1, func(d *nvmltest.Device) { d.ComputeMode = 3 })
	m = m.WithDevice(2, func(d *nvmltest.Device) { d.Health.ECCMode, d.Health.Persistence = nil, new(false) })
	return m.WithDevice(7, func(d *nvmltest.Device) { d.MIGCapable, d.Domain = false, 0x10000 })
}

// TestDryRun does the suite, but for what only real GPUs show, on made-up ones.
func TestDryRun(t *testing.T) {
	for _, p := range suite {
		t.Run(p.name, func(t *testing.T) {
			if p.real {
				t.Skip("only real GPUs show this")
			}
			p.run(t, makeUp(t, eight()).withPython(t).rig)
		})
	}
	t.Run("a machine of many kinds", func(t *testing.T) {
		suite[0].run(t, makeUp(t, mixed()).rig)
	})
	t.Run("a GPU in two parts", func(t *testing.T) {
		suite[0].run(t, makeUp(t, eight().MIG(3)).rig)
	})
}

// TestDryRunFindsDifferences is the control of the points that compare: nvidia-smi
// tells of a machine that differs in one thing, and that is what they find.
func TestDryRunFindsDifferences(t *testing.T) {
	u := makeUp(t, eight())
	u.patience = 0
	fabricated := func(change func(*nvmltest.Device)) nvmltest.Machine { return eight().WithDevice(5, change) }
	for name, c := range map[string]struct {
		compare func(*testing.T, rig) ([]comparison, error)
		machine nvmltest.Machine
	}{
		"GPU 5 uuid":             {inventoryAgrees, fabricated(func(d *nvmltest.Device) { d.UUID = d.UUID[:len(d.UUID)-1] + "f" })},
		"GPU 5 name":             {inventoryAgrees, fabricated(func(d *nvmltest.Device) { d.Name += "e" })},
		"GPU 5 pci.bus_id":       {inventoryAgrees, fabricated(func(d *nvmltest.Device) { d.Domain = 1 })},
		"GPU 5 memory.total":     {inventoryAgrees, fabricated(func(d *nvmltest.Device) { d.Memory.Total += 2 << 20 })},
		"GPU 5 compute_mode":     {inventoryAgrees, fabricated(func(d *nvmltest.Device) { d.ComputeMode = 3 })},
		"GPU 5 persistence_mode": {inventoryAgrees, fabricated(func(d *nvmltest.Device) { d.Health.Persistence = nil })},
		"GPU 5 ecc.mode.current": {inventoryAgrees, fabricated(func(d *nvmltest.Device) { d.Health.ECCMode = &nvmltest.Mode{} })},
		"GPU 5 mig.mode.current": {inventoryAgrees, fabricated(func(d *nvmltest.Device) { d.MIG = true })},
		"number of GPUs":         {inventoryAgrees, nvmltest.Machine{DriverVersion: "550.54.15", CUDAVersion: 12040, Devices: eight().Devices[:7]}},
		"CUDA version":           {inventoryAgrees, nvmltest.Machine{DriverVersion: "550.54.15", CUDAVersion: 12050, Devices: eight().Devices}},
	} {
		t.Run(name, func(t *testing.T) {
			u.tellSMI(t, c.machine)
			list, err := c.compare(t, u.rig)
			if err != nil {
				t.Fatal(err)
			}
			wantOnly(t, list, name)
		})
	}
}

// TestDryRunFindsOtherFigures does the same for the figures of a running job: one
// look at them finds the one that differs by more than two looks may.
func TestDryRunFindsOtherFigures(t *testing.T) {
	u := makeUp(t, eight())
	u.patience = 2 * time.Second
	u.tellSMI(t, eight().WithDevice(5, func(d *nvmltest.Device) { d.PowerLimit += 2000 }))
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
		t.Errorf("found %v, want %s alone, of %d comparisons", found, name, len(list))
	}
}

// TestDryRunFindsFaults is the control of the other points: on machines where what
// they want is not so, they say what is wrong.
func TestDryRunFindsFaults(t *testing.T) {
	for name, c := range map[string]struct {
		check  func(*testing.T, rig) error
		change func(*madeUp)
		want   string
	}{
		"memory does not appear": {memoryAppears, func(u *madeUp) { u.holds = nil }, "memory_used_bytes went from"},
		"something is left": {nothingLeft("die"), func(u *madeUp) {
			hold := u.holds
			u.holds = func(list []report) {
				if list != nil {
					hold(list)
				}
			}
		}, "has ended, but"},
		"other devices": {eachPinned, func(u *madeUp) {
			other := u.machine.WithDevice(2, func(d *nvmltest.Device) { d.UUID = "GPU-00000000-0000-0000-0000-000000000000" })
			u.tellCUDA(t, other)
		}, "rank 2 is given"},
		"no events": {eventsRegistered, func(u *madeUp) {
			u.patience = launchertest.Patience
			nvmltest.Change(t, u.library, u.machine.With(nvmltest.Behavior{
				Function: "nvmlDeviceRegisterEvents", Device: 4, Action: nvmltest.Fail(999)}))
		}, "unknown error"},
		// The made-up driver opens no file under /dev, so that nothing is there to see.
		"a preload passes": {preloadRefused, func(*madeUp) {}, "the exit code is 0"},
		"no device":        {verified, func(u *madeUp) { nvmltest.Change(t, u.library, nvmltest.Machine{}) }, "nothing was verified"},
	} {
		t.Run(name, func(t *testing.T) {
			u := makeUp(t, eight()).withPython(t)
			u.patience = time.Second
			c.change(u)
			err := c.check(t, u.rig)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want something with %q", err, c.want)
			}
		})
	}
}
