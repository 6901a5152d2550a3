//go:build linux

package main

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"

	"github.com/gpulaunch/gpulaunch/affinity"
	"github.com/gpulaunch/gpulaunch/affinity/capture"
	"github.com/gpulaunch/gpulaunch/gpu"
	"github.com/gpulaunch/gpulaunch/launcher"
)

// machineFrom is a machine that is planned for elsewhere: a capture, or a sys tree
// and where GPUs would be on it.
func machineFrom(path, localities string) (m launcher.Machine, err error) {
	captured, err := capture.Open(path)
	if err != nil {
		return m, err
	}
	defer captured.Close()
	inv := gpu.Inventory{Source: gpu.SourceNone, Reason: "planned for another machine, of which no GPUs are known: name some with --localities"}
	if captured.Inventory != nil {
		if err := json.Unmarshal(captured.Inventory, &inv); err != nil {
			return m, fmt.Errorf("%s: its gpulaunch.json is no inventory of GPUs: %w", path, err)
		}
	}
	var places []place
	if localities != "" {
		places, inv = parsePlaces(localities)
	}
	m, err = launcher.ReadMachine(captured.Root, inv, inv.Visible("", false), true)
	if err != nil {
		return m, fmt.Errorf("%s: %w", path, err)
	}
	m.Cgroup = launcher.CgroupPlace{Reason: "planned for another machine"}
	return m, settle(&m, path, places)
}

// place is where a GPU would be: at a PCI address, at a NUMA node, or somewhere.
type place struct {
	text    string
	address bool
	node    int // -1 when nobody knows, as the kernel says it
}

// parsePlaces makes up a GPU for each entry of --localities.
func parsePlaces(list string) (places []place, inv gpu.Inventory) {
	inv = gpu.Inventory{Source: gpu.SourceNone, Reason: "GPUs as --localities says"}
	for i, text := range strings.Split(list, ",") {
		p := place{text: strings.TrimSpace(text)}
		d := gpu.Device{Index: i, UUID: madeUpUUID("GPU", i, 0)}
		n, err := strconv.Atoi(p.text)
		if p.node, p.address = n, err != nil; p.address {
			d.PCIBusID = p.text
		}
		places, inv.Devices = append(places, p), append(inv.Devices, d)
	}
	return places, inv
}

// settle puts the made-up GPUs where they are to be, and refuses places that the
// machine does not have.
func settle(m *launcher.Machine, path string, places []place) error {
	for i, p := range places {
		loc := m.Localities[i]
		switch {
		case p.address:
			if _, err := affinity.CanonicalPCI(p.text); err != nil {
				return fmt.Errorf("--localities: %q is neither a PCI address as 0000:3b:00.0 nor the number of a NUMA node", p.text)
			}
			if loc.NUMANode < 0 && loc.CPUs.IsEmpty() {
				return fmt.Errorf("--localities: %s has no PCI device %s, or does not say where it is: name a NUMA node instead", path, p.text)
			}
		case p.node != -1 && !hasNode(m.Topology, p.node):
			return fmt.Errorf("--localities: %s has no NUMA node %d", path, p.node)
		default:
			loc.NUMANode = p.node
		}
		m.Localities[i] = loc
	}
	return nil
}

func hasNode(t *affinity.Topology, id int) bool {
	for _, n := range t.Nodes {
		if n.ID == id {
			return true
		}
	}
	return false
}
