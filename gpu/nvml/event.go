//go:build linux && !nonvml

package nvml

import (
	"time"
	"unsafe"
)

// EventTypes is a set of things that can happen to a GPU (nvmlEventType*).
type EventTypes uint64

// The event types that are of use here.
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

// Event is one thing that happened.
type Event struct {
	// Device is the whole GPU.
	Device Device
	Type   EventTypes
	// XID is the driver's error number where Type is EventXID; 999 stands for one that NVML does not know.
	XID uint64
	// GPUInstance and ComputeInstance are the MIG instance that it happened to, or NoInstance.
	GPUInstance     uint32
	ComputeInstance uint32
}

// EventSet receives the events of the GPUs that were registered with it.
type EventSet struct {
	lib    *Library
	handle uintptr
}

// NewEventSet makes an empty set (nvmlEventSetCreate). It needs an [EventSet.Free].
func (l *Library) NewEventSet() (EventSet, error) {
	s := EventSet{lib: l}
	err := l.call(eventSetCreate, uintptr(unsafe.Pointer(&s.handle)))
	return s, err
}

// Free gives the set back (nvmlEventSetFree). Nobody may be waiting for it.
func (s EventSet) Free() error { return s.lib.call(eventSetFree, s.handle) }

// SupportedEvents are the types that a GPU can report (nvmlDeviceGetSupportedEventTypes).
func (d Device) SupportedEvents() (EventTypes, error) {
	var types uint64
	err := d.lib.call(deviceEventTypes, d.handle, uintptr(unsafe.Pointer(&types)))
	return EventTypes(types), err
}

// RegisterEvents has a GPU's events delivered to a set from now on (nvmlDeviceRegisterEvents). If one of the types is
// not supported then none is registered and the error is [ErrNotSupported]. After [ErrUnknown] the set is useless.
func (d Device) RegisterEvents(types EventTypes, s EventSet) error {
	return d.lib.call(deviceRegister, d.handle, uintptr(types), s.handle)
}

// Wait returns the next event, or [ErrTimeout] (nvmlEventSetWait_v2, nvmlEventSetWait). It may time out early.
//
// Errors: [ErrGPUIsLost] when one of the GPUs fell off the bus, and others.
func (s EventSet) Wait(limit time.Duration) (Event, error) {
	e := eventData{gpuInstance: NoInstance, computeInstance: NoInstance}
	milliseconds := uintptr(uint32(limit.Milliseconds()))
	err := s.lib.callNewest([]symbol{eventSetWaitV2, eventSetWaitV1}, s.handle, uintptr(unsafe.Pointer(&e)), milliseconds)
	if err != nil {
		return Event{}, err
	}
	return Event{
		Device: Device{s.lib, e.device}, Type: EventTypes(e.types), XID: e.data,
		GPUInstance: e.gpuInstance, ComputeInstance: e.computeInstance,
	}, nil
}
