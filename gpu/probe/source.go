package probe

import (
	"time"

	"github.com/gpulaunch/gpulaunch/gpu"
)

// loadError is why an NVML library could not be loaded.
type loadError struct{ error }

func (e loadError) Unwrap() error { return e.error }

// source is NVML as a localProbe uses it. A build without NVML has no implementation.
type source interface {
	// inventory lists the GPUs again. What NVML cannot say about a broken GPU is taken from the
	// driver's own list.
	inventory() (gpu.Inventory, error)
	// sample reads the figures of the GPUs of the last inventory. It makes an inventory first if
	// there is none yet, or if the number of GPUs has changed.
	sample() gpu.Sample
	// eventSource returns the source of events for the GPUs of the last inventory. It is nil
	// before the first inventory, and the same one as before if the GPUs have not changed.
	eventSource() eventSource
	// close ends the session with NVML.
	close()
}

// eventSource is what the event loop needs of NVML. It is used while other goroutines use the
// source that it comes from.
type eventSource interface {
	// register makes the driver record events. The set is nil if no GPU has events; without says
	// in one line which GPUs have none, and why.
	register() (set eventWaiter, without string, err error)
}

// eventWaiter receives recorded events.
type eventWaiter interface {
	// wait returns the next event, or false if none came. It may return early.
	wait(limit time.Duration) (gpu.Event, bool, error)
	free()
}
