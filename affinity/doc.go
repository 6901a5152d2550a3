// Package affinity decides which CPUs each worker of a job runs on, and binds threads to them.
//
// For workers that each have a device, read the machine and the place of each device, and call
// [Topology.BindAll]. For workers without devices call [Topology.SpreadAll]. Then call [Apply] on
// the thread that starts a worker:
//
//	topology, err := affinity.ReadTopology("")
//	place, err := affinity.ReadLocality("", "0000:1b:00.0")
//	bindings, warnings, err := topology.BindAll(request, []affinity.Locality{place})
//	restore, err := affinity.Apply(bindings[0].CPUs)
//
// Each step hands plain data to the next:
//
//	(reads files)         (pure)                 (one thread)
//	ReadTopology     →    Topology.BindAll    →  Apply
//	ReadLocality          Topology.SpreadAll
//	                      Topology.MemoryNodes → ApplyMemory
//	ReadNICs         →    ClosestNICs
//
// Functions that read files take a root folder. The root "" is the machine that the program runs
// on; any other is a folder with the files of a captured machine, such as package capture opens.
// Captured machines can be read and planned for on every system. Everything else needs Linux, and
// fails with an error that wraps [errors.ErrUnsupported] on other systems.
//
// The package knows nothing about GPUs. A device is a [Locality]: a NUMA node and sets of CPUs,
// each of which may be unknown. What is unknown stays unknown: NUMA node -1 never counts as node 0.
//
// Three decisions shape the package:
//
//   - The machine is a tree of CPU sets (package, die, NUMA node, cache, core), built from what the
//     kernel shows below /sys. A set that overlaps another one without containing it or being
//     inside it is left out, so whatever sysfs says, the tree is valid.
//   - Workers get whole physical cores, in proportion to the cores' hardware threads. Where there
//     are enough cores, two workers in mode exclusive never share one.
//   - The results are those of hwloc-distrib(1), which the tests compare with: with the options
//     "--from core --to core" for workers that share a device's locality, and with "--to core" for
//     workers without a device. The modes node, socket, exclusive and core-complex are torchrun's
//     --numa-binding. Node, socket and core-complex give the same sets as torchrun. Exclusive
//     follows hwloc where the two differ: torchrun gives the remaining cores to the first workers
//     and orders cores by their lowest CPU, which matters where the cores of a node cannot be
//     divided evenly, have different numbers of threads, or are not numbered in the order of its
//     caches.
package affinity
