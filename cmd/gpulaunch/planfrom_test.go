package main

import (
	"strings"
	"testing"

	"github.com/gpulaunch/gpulaunch/affinity"
	"github.com/gpulaunch/gpulaunch/launcher/plan"
)

// FuzzPlaces checks --localities: each entry is one GPU, at a node that the machine has or at one
// that nobody knows, and whatever else is written is an error of one line.
func FuzzPlaces(f *testing.F) {
	for _, list := range []string{"0,1", "-1", "0,-1", "2", "-2", "0000:3b:00.0", "0000:3B:00.0,0",
		"", ",", " 1 , 0", "NaN", "1e3", "99999999999999999999", "+1", "x\n,\x1b[31m"} {
		f.Add(list)
	}
	f.Fuzz(func(t *testing.T, list string) {
		places, inv := parsePlaces(list)
		if n := strings.Count(list, ",") + 1; len(places) != n || len(inv.Devices) != n {
			t.Fatalf("%q has %d places and %d GPUs, want %d", list, len(places), len(inv.Devices),
				n)
		}
		m := plan.Machine{Localities: map[int]affinity.Locality{},
			Topology: &affinity.Topology{Nodes: []affinity.Node{{ID: 0}, {ID: 1}}}}
		for i := range places {
			m.Localities[i] = affinity.Locality{NUMANode: -1} // no device has a place of its own
		}
		err := settle(&m, "capture.tar.gz", places)
		if err != nil {
			if strings.Contains(err.Error(), "\n") || strings.Contains(err.Error(), "\x1b") {
				t.Errorf("%q: the error is %q", list, err)
			}
			return
		}
		for i, loc := range m.Localities {
			if loc.NUMANode < -1 || loc.NUMANode > 1 || places[i].address {
				t.Errorf("%q: GPU %d is at %+v", list, i, loc)
			}
		}
	})
}

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
