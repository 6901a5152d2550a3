//go:build linux && !nonvml

package nvml

import (
	"time"
	"unsafe"
)

// EventTypes is a set of kinds of events (nvmlEventType*).
type EventTypes uint64

// The event types that gpulaunch listens to.
const (
	EventDoubleBitECC     EventTypes = 0x0002
	EventXID              EventTypes = 0x0008
	EventRetirement       EventTypes = 0x0400
	EventRetirementFailed EventTypes = 0x0800
	EventNonFatalPoison   EventTypes = 0x1000
	EventFatalPoison      EventTypes = 0x2000
	EventGPUUnavailable   EventTypes = 0x4000
	EventRecoveryAction   EventTypes = 0x8000
)

// Event is one event of one GPU.
type Event struct {
	// Device is the whole GPU, also if the event concerns a MIG instance.
	Device Device
	Type   EventTypes
	// XID is the driver's error number if Type is EventXID. NVML uses 999 for an error that it does
	// not know.
	XID uint64
	// GPUInstance and ComputeInstance are the ids of the MIG instance that the event concerns, or
	// NoInstance.
	GPUInstance     uint32
	ComputeInstance uint32
}

// EventSet receives the events of the GPUs that are registered with it.
type EventSet struct {
	lib    *Library
	handle uintptr
}

// NewEventSet returns an empty set (nvmlEventSetCreate). Call [EventSet.Free] when it is no longer
// needed.
func (l *Library) NewEventSet() (EventSet, error) {
	s := EventSet{lib: l}
	err := l.call(eventSetCreate, uintptr(unsafe.Pointer(&s.handle)))
	return s, err
}

// Free frees the set (nvmlEventSetFree). No goroutine may be waiting for its events.
func (s EventSet) Free() error { return s.lib.call(eventSetFree, s.handle) }

// SupportedEvents returns the event types that a GPU can report (nvmlDeviceGetSupportedEventTypes).
func (d Device) SupportedEvents() (EventTypes, error) {
	var types uint64
	err := d.lib.call(deviceEventTypes, d.handle, uintptr(unsafe.Pointer(&types)))
	return EventTypes(types), err
}

// RegisterEvents makes the set receive a GPU's events from now on (nvmlDeviceRegisterEvents). If
// one of the types is not supported, none is registered and the error is [ErrNotSupported]. After
// [ErrUnknown] the set cannot be used any more.
func (d Device) RegisterEvents(types EventTypes, s EventSet) error {
	return d.lib.call(deviceRegister, d.handle, uintptr(types), s.handle)
}

// Wait returns the next event, or [ErrTimeout] if none came within the limit (nvmlEventSetWait_v2,
// nvmlEventSetWait). It may time out early.
//
// Errors: [ErrGPUIsLost] if one of the GPUs fell off the bus, and others.
func (s EventSet) Wait(limit time.Duration) (Event, error) {
	e := eventData{gpuInstance: NoInstance, computeInstance: NoInstance}
	milliseconds := uintptr(uint32(limit.Milliseconds()))
	err := s.lib.callNewest([]symbol{eventSetWaitV2, eventSetWaitV1},
		s.handle, uintptr(unsafe.Pointer(&e)), milliseconds)
	if err != nil {
		return Event{}, err
	}
	return Event{
		Device: Device{s.lib, e.device}, Type: EventTypes(e.types), XID: e.data,
		GPUInstance: e.gpuInstance, ComputeInstance: e.computeInstance,
	}, nil
}
