//go:build linux

package hardware

import (
	"errors"
	"testing"
)

// point is one thing that is to be true of a machine's GPUs. It has either a
// check or a list of comparisons.
type point struct {
	name    string
	check   func(*testing.T, rig) error
	compare func(*testing.T, rig) ([]comparison, error)
	// real says that made-up GPUs cannot show it.
	real bool
}

var suite = []point{
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
	{name: "forkserver with PyTorch", check: torchPinned("--start-method=forkserver", "--preload=torch"), real: true},
	{name: "preload that initialises CUDA", check: preloadRefused, real: true},
	{name: "events", check: eventsRegistered},
	{name: "verified", check: verified},
}

// run does a point as a test, and each of its comparisons as a test of its own.
func (p point) run(t *testing.T, r rig) {
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
		t.Skip(err)
	case err != nil:
		t.Error(err)
	}
}

// TestHardware is the suite on this machine's GPUs. Its points use them one after
// another, since they look at each other's traces.
func TestHardware(t *testing.T) {
	r := onThisMachine(t)
	for _, p := range suite {
		t.Run(p.name, func(t *testing.T) { p.run(t, r) })
	}
}
