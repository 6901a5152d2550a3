package probe

import (
	"time"

	"github.com/gpulaunch/gpulaunch/gpu"
)

// source is NVML as the rest of this package sees it. A build without NVML has none.
type source interface {
	// inventory lists the GPUs anew. What NVML cannot say of a broken one is taken from the driver's own list.
	inventory() (gpu.Inventory, error)
	// sample reads the figures of the GPUs of the last inventory. It makes one if there is none yet, or if the number
	// of GPUs has changed.
	sample() gpu.Sample
	// eventSource is the events of the GPUs of the last inventory: the same one for as long as they stay the same, and
	// nil before the first inventory.
	eventSource() eventSource
	// close ends the session with NVML.
	close()
}

// eventSource is what the event loop needs of NVML. It is used while others use the source.
type eventSource interface {
	// register starts to record events. The set is nil if no GPU has any; silent says in one line which GPUs do not, and
	// why.
	register() (set eventWaiter, silent string, err error)
}

// eventWaiter receives recorded events.
type eventWaiter interface {
	// wait gives the next event, or false when none came for that long, or for a shorter while.
	wait(limit time.Duration) (gpu.Event, bool, error)
	free()
}
