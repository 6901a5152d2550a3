// Package draw shows a machine with each worker's cores marked: packages, NUMA nodes, L3 caches and cores as nested
// boxes, devices at their node. [Picture.Text] writes it for a terminal, [Picture.SVG] as a picture of the same structure.
//
// The package decides nothing. It draws what it is given, however odd the machine: every core has exactly one cell, in
// the order of [affinity.Topology.Cores] within its box, whether or not packages, nodes and caches fit into each other.
// Names of devices and workers are not trusted: they cannot move the cursor, break out of the markup or hide text.
package draw

import (
	"errors"

	"github.com/gpulaunch/gpulaunch/affinity"
)

// Worker is one worker of the plan.
type Worker struct {
	Rank   int
	Label  string // what the legend calls it, "rank 0, GPU 0"; empty: its rank
	CPUs   affinity.CPUSet
	Memory []int // the NUMA nodes of its memory policy, nil when it has none
}

// Device is something that is near some of the CPUs: a GPU, a network adapter.
type Device struct {
	Name  string // "GPU 0 NVIDIA H100", "mlx5_0"
	PCI   string // its PCI address, may be empty
	Node  int    // the NUMA node that it is drawn at, -1 when unknown
	CPUs  affinity.CPUSet
	Ranks []int // the workers that use it
}

// Picture is a machine with its devices and workers.
type Picture struct {
	Topology *affinity.Topology
	Devices  []Device
	Workers  []Worker
	Note     string // shown below the legend; newlines separate paragraphs
}

// Style says how text is written.
type Style struct {
	Width int  // of a line, in cells of the terminal; 0 is 80, and less than 40 is 40
	Color bool // with the escape sequences of a terminal of 256 colours
}

const (
	defaultWidth = 80
	leastWidth   = 40
)

func (s Style) width() int {
	if s.Width == 0 {
		return defaultWidth
	}
	return max(s.Width, leastWidth)
}

var errNoTopology = errors.New("cannot draw a machine without its topology; read one with affinity.ReadTopology")
