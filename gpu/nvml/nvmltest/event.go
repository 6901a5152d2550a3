package nvmltest

// Some of NVML's event types.
const (
	EventSingleBitECC   uint64 = 1 << 0
	EventDoubleBitECC   uint64 = 1 << 1
	EventXID            uint64 = 1 << 3
	EventRecoveryAction uint64 = 1 << 15
)

// Event is something that happens to a GPU, Count times in a row (0: once).
type Event struct {
	Device                       int
	Type                         uint64
	Data                         uint64 // the XID
	GPUInstance, ComputeInstance uint32 // NoInstance for what concerns the whole GPU
	Count                        int
}

// XID is an event of a whole GPU.
func XID(device int, xid uint64) Event {
	return Event{Device: device, Type: EventXID, Data: xid, GPUInstance: NoInstance, ComputeInstance: NoInstance}
}

// Happening is the machine with more events at the end.
func (m Machine) Happening(events ...Event) Machine {
	m.Events = append(m.Events[:len(m.Events):len(m.Events)], events...)
	return m
}
