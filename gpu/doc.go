// Package gpu describes the GPUs of a machine: what they are, which of them a process may use,
// whether they are healthy, and what happened to them.
//
// Start with an [Inventory], the list of GPUs. [Inventory.Visible] applies CUDA_VISIBLE_DEVICES
// to it and returns a [Unit] for each worker that could run. [Device.Healthy] and the [Finding]
// values say what is wrong with a GPU. A [Sample] holds the GPUs' figures at one moment. An
// [Event] is something that happened to a GPU, mostly an XID, which [DescribeXID] explains.
//
// The package holds only data and rules. It reads neither the machine nor the clock, and builds
// on every system. Package probe fills in the data on a real machine.
//
// Two rules apply everywhere:
//
//   - Devices are always in PCI order. This is the order that CUDA uses with
//     CUDA_DEVICE_ORDER=PCI_BUS_ID, and the launcher sets that for its workers. An index therefore
//     means the same GPU in the inventory, in the plan and in the worker.
//   - A broken GPU is listed with its [Device.Problem]. It neither disappears nor hides the
//     healthy ones. What a card or a driver does not report is absent, and never zero.
package gpu
