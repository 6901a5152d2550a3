// Package gpu says which GPUs a machine has, which of them this process may use, and how they are doing.
//
// The decisions behind it:
//
//   - Discovery never fails and never depends on NVML alone. [Discover] asks NVML, else reads the kernel driver's files,
//     else says that there is no GPU. [Inventory.Source] and [Inventory.Reason] tell which one it was, and why.
//   - Devices are in PCI order, always. That is CUDA's order under CUDA_DEVICE_ORDER=PCI_BUS_ID, and the launcher sets
//     that for its workers, so an index means the same in the inventory, in the plan and in the worker.
//   - A broken GPU is listed with its [Device.Problem]. It neither disappears nor hides the healthy ones.
//   - NVML may hang in the kernel or crash. A supervisor therefore speaks to it through a [Client]: a child of the same
//     binary that runs [ServeChild] and can be killed and replaced. [DiscoverWith] is discovery by way of such a child.
//   - What a card or a driver does not say is absent from a [Sample], never zero, and no [Finding] about its health.
//   - Events come from a thread of the child that does nothing else. They are counted on their way, so a burst of them
//     costs neither memory nor figures; see [Client.OnEvent] and [DescribeXID].
//
// A build with the tag gonvml (and cgo) uses NVIDIA's binding of NVML in place of package nvml's, behind one interface.
// A build with the tag nonvml leaves NVML out. Everything else stays, with the driver's files as the source.
package gpu
