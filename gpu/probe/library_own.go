//go:build linux && !nonvml && !gonvml

package probe

import (
	"time"

	"github.com/gpulaunch/gpulaunch/gpu/nvml"
)

// openLibrary loads NVML with this module's own binding.
func openLibrary(path string) (library, error) {
	lib, err := nvml.Open(path)
	if err != nil {
		return nil, err
	}
	return ownLibrary{lib}, nil
}

// runningCall returns the call of NVML that has not come back for the longest time.
func runningCall() (function string, since time.Time, ok bool) { return nvml.Running() }

// ownLibrary, ownDevice and ownEventSet adapt the binding's types to the interfaces.
type ownLibrary struct{ *nvml.Library }

func (l ownLibrary) Device(index int) (handle, error) {
	d, err := l.Library.Device(index)
	return ownDevice{d}, err
}

func (l ownLibrary) NewEventSet() (eventSet, error) {
	s, err := l.Library.NewEventSet()
	return ownEventSet{s}, err
}

type ownDevice struct{ nvml.Device }

func (d ownDevice) PCIBusID() (string, error) {
	pci, err := d.PCI()
	return pci.BusID, err
}

func (d ownDevice) MIGDevice(place int) (handle, error) {
	instance, err := d.Device.MIGDevice(place)
	return ownDevice{instance}, err
}

type ownEventSet struct{ nvml.EventSet }

func (s ownEventSet) Register(h handle, types nvml.EventTypes) error {
	return h.(ownDevice).RegisterEvents(types, s.EventSet)
}

func (s ownEventSet) Wait(limit time.Duration) (event, error) {
	e, err := s.EventSet.Wait(limit)
	return event{e, ownDevice{e.Device}}, err
}
