package main

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"

	"github.com/gpulaunch/gpulaunch/affinity"
	"github.com/gpulaunch/gpulaunch/affinity/capture"
	"github.com/gpulaunch/gpulaunch/gpu"
	"github.com/gpulaunch/gpulaunch/launcher/machine"
	"github.com/gpulaunch/gpulaunch/launcher/plan"
	"github.com/gpulaunch/gpulaunch/launcher/terminal"
)

// machineFrom is a machine that is planned for elsewhere: a capture, or a sys tree
// and where GPUs would be on it.
func machineFrom(path, localities string) (m plan.Machine, err error) {
	captured, err := capture.Open(path)
	if err != nil {
		return m, err
	}
	defer captured.Close()
	inv := gpu.Inventory{Source: gpu.SourceNone,
		Reason: "planned for another machine, of which no GPUs are known: name some with " +
			"--localities"}
	if captured.Inventory != nil {
		if err := json.Unmarshal(captured.Inventory, &inv); err != nil {
			return m, fmt.Errorf("%s: its gpulaunch.json is no inventory of GPUs: %.200s", path,
				err.Error())
		}
		inv = distrusted(inv)
	}
	var places []place
	if localities != "" {
		places, inv = parsePlaces(localities)
	}
	m, err = machine.Read(captured.Root, inv, inv.Visible("", false), plan.Options{})
	if err != nil {
		return m, fmt.Errorf("%s: %w", path, err)
	}
	m.Cgroup = plan.CgroupPlace{Reason: "planned for another machine"}
	return m, settle(&m, path, places)
}

// distrusted makes an inventory of somebody else's fit to be planned with and to be
// shown: devices are counted anew, and text is what can be printed.
func distrusted(inv gpu.Inventory) gpu.Inventory {
	inv.Source, inv.Reason, inv.DriverVersion = printable(inv.Source), printable(inv.Reason),
		printable(inv.DriverVersion)
	inv.LibraryProblem = "" // of the library that was named there
	for i := range inv.Devices {
		d := &inv.Devices[i]
		d.Index, d.UUID, d.Name, d.Problem, d.Processes = i, madeUpUUID("GPU", i, 0),
			printable(d.Name), printable(d.Problem), nil
		d.ComputeMode = printable(d.ComputeMode)
		d.PCIBusID, _ = affinity.CanonicalPCI(d.PCIBusID) // "" for what is none
		for j := range d.MIGInstances {
			m := &d.MIGInstances[j]
			m.UUID, m.Name, m.Profile = madeUpUUID("MIG", i, j+1), printable(m.Name),
				printable(m.Profile)
		}
		for j, f := range d.Findings {
			d.Findings[j] = gpu.Finding{Code: printable(f.Code), Text: printable(f.Text),
				Remedy: printable(f.Remedy)}
		}
	}
	return inv
}

// printable returns text from a capture as it can be shown: sanitized, and at most 200 cells.
func printable(s string) string { return terminal.Truncate(terminal.Sanitize(s), 200) }

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
			if addr, err := affinity.CanonicalPCI(p.text); err == nil { // settle refuses others
				p.text = addr
			}
			d.PCIBusID = p.text
		}
		places, inv.Devices = append(places, p), append(inv.Devices, d)
	}
	return places, inv
}

// settle puts the made-up GPUs where they are to be, and refuses places that the
// machine does not have.
func settle(m *plan.Machine, path string, places []place) error {
	for i, p := range places {
		loc := m.Localities[i]
		switch {
		case p.address:
			if _, err := affinity.CanonicalPCI(p.text); err != nil {
				return fmt.Errorf("--localities: %q is neither a PCI address as 0000:3b:00.0 nor "+
					"the number of a NUMA node", p.text)
			}
			if loc.NUMANode < 0 && loc.CPUs.IsEmpty() {
				return fmt.Errorf("--localities: %s has no PCI device %s, or does not say where "+
					"it is: name a NUMA node instead", path, p.text)
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

// madeUpUUID is that of a GPU, the same that package capture writes into the
// driver's files, or of an instance of one.
func madeUpUUID(kind string, index, instance int) string {
	return fmt.Sprintf("%s-00000000-0000-0000-%04d-%012d", kind, instance, index)
}
