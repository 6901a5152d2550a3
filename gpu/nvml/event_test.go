//go:build linux && !nonvml

package nvml

import (
	"errors"
	"testing"
	"time"

	"github.com/gpulaunch/gpulaunch/gpu/nvml/nvmltest"
)

// registerXIDs returns a set that receives the XIDs of all eight GPUs except one. -1 stands for no
// exception.
func registerXIDs(t *testing.T, lib *Library, except int) EventSet {
	t.Helper()
	set, err := lib.NewEventSet()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := set.Free(); err != nil {
			t.Error(err)
		}
	})
	for i := range 8 {
		if i == except {
			continue
		}
		if err := device(t, lib, i).RegisterEvents(EventXID, set); err != nil {
			t.Fatal(err)
		}
	}
	return set
}

// checkNext fails the test unless the next event is the wanted one.
func checkNext(t *testing.T, set EventSet, want Event) {
	t.Helper()
	got, err := set.Wait(time.Minute)
	if got != want || err != nil {
		t.Errorf("got %+v, %v; want %+v", got, err, want)
	}
}

// xidOf returns an XID event of a whole GPU.
func xidOf(d Device, xid uint64) Event {
	return Event{
		Device: d, Type: EventXID, XID: xid,
		GPUInstance: NoInstance, ComputeInstance: NoInstance,
	}
}

func TestEvents(t *testing.T) {
	m := eightGPUs().WithEvents(
		nvmltest.XID(5, 79),
		nvmltest.Event{
			Device: 2, Type: uint64(EventXID), Data: 31, GPUInstance: 9, ComputeInstance: 1,
			Count: 2,
		},
		// This GPU is not registered, and then this type is not.
		nvmltest.XID(6, 13),
		nvmltest.Event{Device: 1, Type: nvmltest.EventDoubleBitECC, GPUInstance: 1},
	)
	path := nvmltest.Install(t, m)
	lib := startLibrary(t, path)
	set := registerXIDs(t, lib, 6)
	checkNext(t, set, xidOf(device(t, lib, 5), 79))
	for range 2 {
		checkNext(t, set, Event{
			Device: device(t, lib, 2), Type: EventXID, XID: 31, GPUInstance: 9, ComputeInstance: 1,
		})
	}
	if e, err := set.Wait(time.Millisecond); !errors.Is(err, ErrTimeout) {
		t.Errorf("got %+v, %v; want ErrTimeout", e, err)
	}
	nvmltest.Change(t, path, m.WithEvents(nvmltest.XID(5, 80)))
	checkNext(t, set, xidOf(device(t, lib, 5), 80))
}

// TestEventsOfOldDriver has version 1 of the waiting function, which does not write the ids of the
// instance. They must not be taken for 0.
func TestEventsOfOldDriver(t *testing.T) {
	lib := start(t, eightGPUs().OldDriver().WithEvents(nvmltest.XID(0, 48)))
	checkNext(t, registerXIDs(t, lib, -1), xidOf(device(t, lib, 0), 48))
}

func TestEventsNotSupported(t *testing.T) {
	m := eightGPUs().WithDevice(0, func(d *nvmltest.Device) { d.EventTypes = 0 })
	lib := start(t, m)
	set := registerXIDs(t, lib, 0)
	err := device(t, lib, 0).RegisterEvents(EventXID, set)
	if !errors.Is(err, ErrNotSupported) {
		t.Errorf("registering gives %v, want ErrNotSupported", err)
	}
	lib = start(t, m.Without("nvmlEventSetCreate"))
	if _, err := lib.NewEventSet(); !errors.Is(err, ErrFunctionNotFound) {
		t.Errorf("NewEventSet() gives %v, want ErrFunctionNotFound", err)
	}
}
