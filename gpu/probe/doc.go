// Package probe asks a machine about its GPUs.
//
// Start with [DiscoverWith], which finds the GPUs through a [Client]. Keep the client, ask it for
// a [Client.Sample] as often as you need figures, and set [Client.OnEvent] to receive events. The
// program also needs a hidden subcommand that calls [ServeChild]: the client starts it as its
// child. A program that may hang or crash together with NVML can do without all that and call
// [Discover], or keep a localProbe.
//
// The decisions behind it:
//
//   - Discovery never fails and never depends on NVML alone. It asks NVML. If that does not work,
//     it reads the kernel driver's files, and if there are none, it says that there is no GPU. The
//     inventory's Source and Reason say which of these happened, and why.
//   - NVML may hang in the kernel, and it may crash. A program that must survive that talks to
//     NVML through a [Client], whose child can be killed and replaced.
//   - Events come from a goroutine of the child that does nothing else, and are counted on their
//     way. A burst of events therefore takes no memory and does not delay samples.
//
// # Goroutines
//
// In the process of the [Client]:
//
//   - For each child, one goroutine waits for its exit and calls [Client.Ended]. It ends with the
//     child. [Client.Close] kills the child if necessary; only a child that is stuck in the kernel
//     stays longer than that, and the goroutine with it. Until then package os/exec has another
//     goroutine that copies the child's output.
//   - For each child, if OnEvent is set, one goroutine reads the child's events and makes the
//     calls of [Client.OnEvent] and [Client.OnNoEvents]. It ends when the pipe is closed, which
//     Close does. If a call is running then, it ends after the call.
//   - When children that listen for events have died repeatedly, a goroutine reports that with one
//     call of OnNoEvents, and ends after the call.
//   - DiscoverWith reads the driver's files in a goroutine. It ends when the kernel has answered,
//     even if DiscoverWith did not wait so long.
//
// In the child:
//
//   - [ServeChild] reads requests, asks NVML and writes the answers in the goroutine that called
//     it. It ends when the client closes the pipe.
//   - While an answer takes longer than a second, a timer tells the client which call of NVML it
//     waits for. It ends with the answer.
//   - When the client first asks for events, a goroutine starts that owns the event pipe. It
//     writes counted events until a write fails because the client has closed the pipe.
//   - That goroutine starts the event loop, which owns NVML's event set and is the only goroutine
//     that waits for events. It ends soon after the goroutine that started it. ServeChild waits
//     for neither of the two, since the event loop may be stuck in NVML; the exit of the process
//     ends them at the latest.
//
// # Build tags
//
// With the tag gonvml (and cgo), NVIDIA's binding of NVML is used in place of package nvml. With
// the tag nonvml, NVML is left out and the driver's files are the only source.
package probe
