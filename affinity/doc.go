// Package affinity decides which CPUs each worker runs on, and binds a thread to them.
//
// It works in three steps that hand plain data to each other:
//
//	(reads files)         (pure)                 (one thread)
//	ReadTopology     →    Topology.BindAll    →  Apply
//	ReadLocality          Topology.SpreadAll
//	                      Topology.MemoryNodes → ApplyMemory
//	ReadNICs         →    ClosestNICs
//
// The package knows nothing of GPUs. A device is a [Locality]: a NUMA node and sets of CPUs, any of which may be
// unknown. Unknown stays unknown: a NUMA node of -1 is never taken for node 0.
//
// Three decisions shape it:
//
//   - The machine is a tree of CPU sets (package, die, NUMA node, cache, core), built from what the kernel shows below
//     /sys. A set that crosses another one without being inside it is left out, so no sysfs can make the tree invalid.
//   - Shares are whole physical cores, handed out by the number of hardware threads. Where there are enough cores, two
//     exclusive workers never share one.
//   - The answers are those of hwloc-distrib(1), which the tests use as a judge: with "--from core --to core" for
//     workers that share a device's locality, and with "--to core" for workers without a device. The modes node, socket
//     and core-complex are torchrun's --numa-binding, down to the sets. Its exclusive gives the cores left over to the
//     first workers and counts cores by their lowest CPU; hwloc's rule decides here, and it differs where the cores of a
//     node cannot be divided evenly, are not alike, or are numbered across its caches.
package affinity
