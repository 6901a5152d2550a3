package gpu

import "time"

// EventKind says what happened to a GPU. An event type of NVML that has no constant here is
// written with its number, as in "type 0x10000".
type EventKind string

// The kinds of events. Those between EventXID and EventDropped are NVML's nvmlEventType* of the
// same name; nvml.h explains them no further.
const (
	// EventXID is an error that the driver reports with a number, which is [Event.XID].
	EventXID EventKind = "xid"

	EventDoubleBitECC     EventKind = "double-bit-ecc"
	EventRetirement       EventKind = "dram-retirement"
	EventRetirementFailed EventKind = "dram-retirement-failure"
	EventNonFatalPoison   EventKind = "non-fatal-poison"
	EventFatalPoison      EventKind = "fatal-poison"
	EventGPUUnavailable   EventKind = "gpu-unavailable"
	EventRecoveryAction   EventKind = "gpu-recovery-action"

	// EventDropped stands for events that were counted, but not kept apart, because a GPU had
	// too many different ones at once.
	EventDropped EventKind = "dropped"
)

// Event is something that happened to a GPU, once or several times within a short while.
type Event struct {
	// Time is when it happened first.
	Time time.Time `json:"time"`
	// UUID and Index name the GPU as the inventory does. For a GPU that is not in the
	// inventory, UUID is "" and Index is -1.
	UUID  string `json:"uuid"`
	Index int    `json:"index"`
	// MIG is the UUID of the MIG instance that the event concerns. It is "" if the event
	// concerns the whole GPU, or if NVML does not say which instance.
	MIG string `json:"mig,omitempty"`
	// Kind is one of the Event constants, or an event type of NVML that has none.
	Kind EventKind `json:"kind"`
	// XID is the driver's error number, and 0 unless Kind is [EventXID]. [DescribeXID] says
	// what the number means.
	XID uint64 `json:"xid,omitempty"`
	// Count is how many times the event happened, at least once.
	Count uint64 `json:"count"`
}
