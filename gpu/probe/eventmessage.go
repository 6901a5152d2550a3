package probe

import "github.com/gpulaunch/gpulaunch/gpu"

// eventMessage is what the child sends on the event pipe: an event, or the reason why none come.
type eventMessage struct {
	Event    *gpu.Event `json:"event,omitempty"`
	NoEvents string     `json:"no_events,omitempty"`
}
