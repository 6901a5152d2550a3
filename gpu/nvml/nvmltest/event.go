package nvmltest

import "slices"

// The event types that the machines have.
const (
	EventDoubleBitECC uint64 = 1 << 1
	EventXID          uint64 = 1 << 3
)

// Event is something that happens to a GPU, Count times in a row. A Count of 0 means once.
type Event struct {
	Device int
	Type   uint64
	Data   uint64 // the XID
	// GPUInstance and ComputeInstance are NoInstance if the event concerns the whole GPU.
	GPUInstance, ComputeInstance uint32
	Count                        int
}

// XID returns an XID event of a whole GPU.
func XID(device int, xid uint64) Event {
	return Event{
		Device: device, Type: EventXID, Data: xid,
		GPUInstance: NoInstance, ComputeInstance: NoInstance,
	}
}

// WithEvents returns the machine with more events at the end.
func (m Machine) WithEvents(events ...Event) Machine {
	m.Events = append(slices.Clip(m.Events), events...)
	return m
}
