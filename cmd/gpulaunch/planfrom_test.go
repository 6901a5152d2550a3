package main

import (
	"testing"

	"github.com/gpulaunch/gpulaunch/affinity"
)

// FuzzLocalities reads any list. Each entry becomes a GPU, and an address that can be read is in
// the form that sysfs has.
func FuzzLocalities(f *testing.F) {
	for _, list := range []string{"0,0,1,-1", "0000:0A:00.0,00000000:1B:00.0, 3f:0.0", "", ",", "gpu0",
		"99999999999999999999", "+1", "10000:01:00.0"} {
		f.Add(list)
	}
	f.Fuzz(func(t *testing.T, list string) {
		places, inv := parsePlaces(list)
		if len(places) != len(inv.Devices) || len(places) == 0 {
			t.Fatalf("%d places and %d devices", len(places), len(inv.Devices))
		}
		for i, d := range inv.Devices {
			addr, err := affinity.CanonicalPCI(d.PCIBusID)
			if d.Index != i || err == nil && addr != d.PCIBusID ||
				places[i].address != (d.PCIBusID != "" || places[i].text == "") {
				t.Errorf("%q: %+v %+v", list, places[i], d)
			}
		}
	})
}
