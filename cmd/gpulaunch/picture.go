package main

import (
	"bytes"
	"fmt"
	"os"
	"strings"

	"github.com/gpulaunch/gpulaunch/affinity"
	"github.com/gpulaunch/gpulaunch/affinity/draw"
	"github.com/gpulaunch/gpulaunch/launcher/plan"
	"github.com/gpulaunch/gpulaunch/launcher/terminal"
)

// picture is a plan on its machine.
func picture(m plan.Machine, p plan.Plan) draw.Picture {
	pic := draw.Picture{Topology: m.Topology}
	ranks := map[int][]int{} // by GPU
	for _, w := range p.Workers {
		label := fmt.Sprintf("rank %d", w.Rank)
		if w.Device != nil {
			ranks[w.Device.Index] = append(ranks[w.Device.Index], w.Rank)
			label += fmt.Sprintf(", GPU %d", w.Device.Index)
		}
		if w.NIC != "" {
			label += ", " + w.NIC
		}
		pic.Workers = append(pic.Workers, draw.Worker{
			Rank: w.Rank, Label: label, CPUs: w.CPUs, Memory: w.MemoryNodes,
		})
	}
	for _, d := range m.Inventory.Devices {
		loc, known := m.Localities[d.Index]
		if !known {
			loc.NUMANode = -1 // it is unusable, or CUDA_VISIBLE_DEVICES hides it
		}
		if loc.CPUs.IsEmpty() {
			loc.CPUs = loc.Reported
		}
		pic.Devices = append(pic.Devices, draw.Device{
			Name: strings.TrimSpace(fmt.Sprintf("GPU %d %s", d.Index, d.Name)), PCI: d.PCIBusID,
			Node: nodeOf(m.Topology, loc), CPUs: loc.CPUs, Ranks: ranks[d.Index],
		})
	}
	for _, n := range m.NICs {
		pic.Devices = append(pic.Devices, draw.Device{
			Name: n.Name, PCI: n.PCIAddress, Node: n.NUMANode,
		})
	}
	return pic
}

// nodeOf returns the node at which a device is drawn: its own node, or the node that has
// exactly its local CPUs. It returns -1 if there is none.
func nodeOf(t *affinity.Topology, loc affinity.Locality) int {
	if loc.NUMANode >= 0 {
		return loc.NUMANode
	}
	for _, n := range t.Nodes {
		if !n.CPUs.IsEmpty() && n.CPUs.Equal(loc.CPUs) {
			return n.ID
		}
	}
	return -1
}

// drawText returns a picture as text for the standard output.
func drawText(pic draw.Picture) (string, error) {
	var b strings.Builder
	err := pic.Text(&b, terminal.StyleOf(os.Stdout, os.Getenv))
	return b.String(), err
}

func writeSVG(path string, pic draw.Picture) error {
	var b bytes.Buffer
	if err := pic.SVG(&b); err != nil {
		return err
	}
	if err := os.WriteFile(path, b.Bytes(), 0o644); err != nil {
		return fmt.Errorf("cannot write the picture: %w", err)
	}
	return nil
}
