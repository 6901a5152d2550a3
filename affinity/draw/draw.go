// Package draw shows a machine and which of its cores each worker may use.
//
// Fill in a [Picture], with a topology from [affinity.ReadTopology]. Then call [Picture.Text] for
// a terminal or a log, or [Picture.SVG] for a document. Both show the same: packages, NUMA nodes,
// L3 caches and cores as nested boxes, each core with the mark of its worker, each device at its
// node, and a legend.
//
// The package makes no decisions and draws any machine, however odd. Every core has exactly one
// cell, in the order of [affinity.Topology.Cores] within its box, whether or not packages, nodes
// and caches fit into each other. Only if a package or a node cuts through a core, as in some
// virtual machines, each part of the core has a cell of its own. Names of devices and workers are
// not trusted: they cannot move the cursor, break out of the markup or hide text.
package draw

import (
	"errors"

	"github.com/gpulaunch/gpulaunch/affinity"
)

// Worker is a worker whose cores are marked.
type Worker struct {
	Rank   int
	Label  string // its name in the legend, such as "rank 0, GPU 0"; if empty, its rank
	CPUs   affinity.CPUSet
	Memory []int // the NUMA nodes of its memory policy, or nil if it has none
}

// Device is a device that is near some of the CPUs, such as a GPU or a network adapter.
type Device struct {
	Name  string // "GPU 0 NVIDIA H100", "mlx5_0"
	PCI   string // its PCI address; may be empty
	Node  int    // the NUMA node at which it is drawn, or -1 if unknown
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

var errNoTopology = errors.New(
	"cannot draw a machine without its topology: read one with affinity.ReadTopology")
