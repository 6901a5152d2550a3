package probe

import "github.com/gpulaunch/gpulaunch/gpu"

// eventMessage is what the child sends on the event pipe: an event, the reason why none come, or
// that they come.
type eventMessage struct {
	Event    *gpu.Event `json:"event,omitempty"`
	NoEvents string     `json:"no_events,omitempty"`
	Come     bool       `json:"events_come,omitempty"`
}
