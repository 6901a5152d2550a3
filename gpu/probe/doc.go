// Package probe asks a machine about its GPUs.
//
// Start with [DiscoverWith], which finds the GPUs through a [Client], or [Discover],
// which does so within this process. Then ask the client for a gpu.Sample as often as
// figures are needed, and receive events with [Client.OnEvent].
//
// The decisions behind it:
//
//   - Discovery never fails and never depends on NVML alone. It asks NVML, else reads the
//     kernel driver's files, else says that there is no GPU. The inventory's Source and
//     Reason tell which one it was, and why.
//   - NVML may hang in the kernel or crash. A supervisor therefore speaks to it through a
//     [Client]: a child of the same binary that runs [ServeChild] and can be killed and
//     replaced.
//   - Events come from a thread of the child that does nothing else. They are counted on
//     their way, so a burst of them costs neither memory nor figures.
//
// Goroutines: a started child has one that waits for its end and, if events are wanted,
// one that reads them ([Client.Close] ends both). In the child, one waits for events and
// one delivers them until the reader is gone.
//
// A build with the tag gonvml (and cgo) uses NVIDIA's binding of NVML in place of package
// nvml's, behind one interface. A build with the tag nonvml leaves NVML out. Everything
// else stays, with the driver's files as the source.
package probe
