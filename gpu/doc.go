// Package gpu describes the GPUs of a machine: what they are, which of them this process
// may use, how healthy they are, and what happened to them.
//
// It holds data and rules only, and builds on every system. [Inventory] is the list of
// GPUs, [Inventory.Visible] what a CUDA_VISIBLE_DEVICES leaves of it, [Sample] their
// figures at one moment, [Finding] something that is wrong with one, and [Event] an
// error that the driver reported, which [DescribeXID] explains. Package probe fills
// these in on a real machine.
//
// Two rules hold everywhere:
//
//   - Devices are in PCI order, always. That is CUDA's order under
//     CUDA_DEVICE_ORDER=PCI_BUS_ID, and the launcher sets that for its workers, so an
//     index means the same in the inventory, in the plan and in the worker.
//   - A broken GPU is listed with its [Device.Problem]. It neither disappears nor hides
//     the healthy ones. What a card or a driver does not say is absent, never zero.
package gpu
