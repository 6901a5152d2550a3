//go:build linux && !nonvml

package nvml

import (
	"errors"
	"testing"
	"time"

	"github.com/gpulaunch/gpulaunch/gpu/nvml/nvmltest"
)

// listen registers the XIDs of all GPUs but those given.
func listen(t *testing.T, lib *Library, but ...int) EventSet {
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
		if len(but) > 0 && but[0] == i {
			continue
		}
		if err := device(t, lib, i).RegisterEvents(EventXID, set); err != nil {
			t.Fatal(err)
		}
	}
	return set
}

const noTime = time.Millisecond

func TestEvents(t *testing.T) {
	part := nvmltest.Event{Device: 2, Type: uint64(EventXID), Data: 31, GPUInstance: 9, ComputeInstance: 1, Count: 2}
	m := nvmltest.EightGPUs(node0, node1).WithEvents(nvmltest.XID(5, 79), part,
		nvmltest.XID(6, 13), // nobody is registered for that GPU,
		nvmltest.Event{Device: 1, Type: nvmltest.EventDoubleBitECC, GPUInstance: 1}, // nor for that type
	)
	path := nvmltest.Install(t, m)
	lib := open1(t, path)
	if err := lib.Init(); err != nil {
		t.Fatal(err)
	}
	set := listen(t, lib, 6)
	inPart := Event{Device: device(t, lib, 2), Type: EventXID, XID: 31, GPUInstance: 9, ComputeInstance: 1}
	whole := Event{Device: device(t, lib, 5), Type: EventXID, XID: 79, GPUInstance: NoInstance, ComputeInstance: NoInstance}
	for i, want := range []Event{whole, inPart, inPart} {
		got, err := set.Wait(time.Minute)
		if got != want || err != nil {
			t.Errorf("event %d: %v, %v", i, got, err)
		}
	}
	if e, err := set.Wait(noTime); !errors.Is(err, ErrTimeout) {
		t.Errorf("%+v, %v", e, err)
	}
	nvmltest.Change(t, path, m.WithEvents(nvmltest.XID(5, 80)))
	whole.XID = 80
	if got, err := set.Wait(time.Minute); got != whole || err != nil {
		t.Errorf("later: %v, %v", got, err)
	}
}

// Version 1 does not write the instance: it must not be taken for instance 0.
func TestEventsOfOldDriver(t *testing.T) {
	lib := start(t, nvmltest.EightGPUs(node0, node1).OldDriver().WithEvents(nvmltest.XID(0, 48)))
	want := Event{Device: device(t, lib, 0), Type: EventXID, XID: 48, GPUInstance: NoInstance, ComputeInstance: NoInstance}
	if got, err := listen(t, lib).Wait(time.Minute); got != want || err != nil {
		t.Errorf("%v, %v", got, err)
	}
}

func TestEventsNotSupported(t *testing.T) {
	m := nvmltest.EightGPUs(node0, node1).WithDevice(0, func(d *nvmltest.Device) { d.EventTypes = 0 })
	lib := start(t, m)
	set := listen(t, lib, 0)
	if err := device(t, lib, 0).RegisterEvents(EventXID, set); !errors.Is(err, ErrNotSupported) {
		t.Errorf("%v", err)
	}
	lib = start(t, m.Without("nvmlEventSetCreate"))
	if _, err := lib.NewEventSet(); !errors.Is(err, ErrFunctionNotFound) {
		t.Errorf("%v", err)
	}
}
