//go:build linux

package hardware

import (
	"errors"
	"testing"

	"github.com/gpulaunch/gpulaunch/gpu/nvml/nvmltest"
)

// requirement is one thing that must be true of gpulaunch on a machine with GPUs. It has either a
// check or comparisons.
type requirement struct {
	name    string
	check   func(*testing.T, rig) error
	compare func(*testing.T, rig) ([]comparison, error)
	// real means that fake GPUs are not enough.
	real bool
}

var suite = []requirement{
	{name: "inventory", compare: inventoryAgrees},
	{name: "samples", compare: samplesAgree},
	{name: "workers see one device", check: eachPinned},
	{name: "PyTorch workers see one device", check: torchPinned(), real: true},
	{name: "PyTorch trains", check: torchTrains, real: true},
	{name: "memory appears", check: memoryAppears},
	{name: "no files leak", check: noFilesLeak},
	{name: "sharing and naming", check: sharing},
	{name: "nothing is left", check: nothingLeft("die")},
	{name: "nothing is left of one that ignores SIGTERM", check: nothingLeft("ignore")},
	{name: "timings", check: timings},
	{name: "driver files", compare: driverFilesAgree, real: true},
	{name: "forkserver with PyTorch",
		check: torchPinned("--start-method=forkserver", "--preload=torch"), real: true},
	{name: "preload that initialises CUDA", check: preloadRefused, real: true},
	{name: "events", check: eventsRegistered},
	{name: "verified", check: verified},
}

// run runs a requirement as a test, and each of its comparisons as a test of its own.
func (p requirement) run(t *testing.T, r rig) {
	var list []comparison
	var err error
	if p.check != nil {
		err = p.check(t, r)
	} else {
		list, err = p.compare(t, r)
	}
	for _, c := range list {
		t.Run(c.name, func(t *testing.T) {
			if !c.same {
				t.Error(c)
			}
			t.Log(c)
		})
	}
	switch {
	case errors.Is(err, errSkipped):
		nvmltest.NotOnThisMachine(t, err.Error())
	case err != nil:
		t.Error(err)
	}
}

// TestHardware runs the suite with this machine's GPUs, one requirement after the other, because
// each of them measures what all processes do.
func TestHardware(t *testing.T) {
	r := onThisMachine(t)
	for _, p := range suite {
		t.Run(p.name, func(t *testing.T) { p.run(t, r) })
	}
}
