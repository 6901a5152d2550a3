package probe

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/gpulaunch/gpulaunch/gpu"
)

// localProbe keeps NVML open within this process and asks it again and again. It hangs or crashes
// if NVML does, so it belongs in the child of a [Client] wherever that matters. The methods may be
// called from several goroutines.
type localProbe struct {
	options Options
	feed    eventFeed // the event loop's source

	mu      sync.Mutex
	source  source // nil if NVML does not work
	problem string // why source is nil
	// libraryProblem is why the library that the user named could not be loaded.
	libraryProblem string
	closed         bool
}

// newLocalProbe opens NVML. It never fails: without NVML, a localProbe answers from the driver's
// files.
func newLocalProbe(o Options) *localProbe {
	p := &localProbe{options: o}
	p.open()
	return p
}

func (p *localProbe) open() {
	if p.options.Library == "" && !DriverPresent(p.options.Root) {
		p.problem = reasonNoDriver
		return
	}
	source, err := openNVML(p.options, p.driverList)
	p.libraryProblem = ""
	if err != nil {
		p.problem = err.Error()
		if errors.As(err, new(loadError)) && p.options.Library != "" {
			p.libraryProblem = p.problem
		}
		return
	}
	p.source, p.problem = source, ""
}

// driverList returns the driver's own list of GPUs, or nil if there is none.
func (p *localProbe) driverList() []gpu.Device {
	devices, _ := driverDevices(p.options.Root)
	return devices
}

// Inventory lists the GPUs again. If NVML did not work before, it is tried again.
func (p *localProbe) Inventory() gpu.Inventory {
	p.mu.Lock()
	defer p.mu.Unlock()
	defer p.updateFeed()
	if p.source == nil && !p.closed {
		p.open()
	}
	if p.source == nil {
		inv := driverInventory(p.options.Root, p.problem)
		inv.LibraryProblem = p.libraryProblem
		return inv
	}
	inv, err := p.source.inventory()
	if err != nil {
		return driverInventory(p.options.Root, err.Error())
	}
	if len(inv.Devices) == 0 {
		return driverInventory(p.options.Root, fmt.Sprintf(
			"NVML %s from %s works but lists no GPU", inv.NVMLVersion, inv.Library))
	}
	return inv
}

// Sample reads the GPUs' current figures. Without NVML there are none, and the sample's Error
// says why.
func (p *localProbe) Sample() gpu.Sample {
	p.mu.Lock()
	defer p.mu.Unlock()
	defer p.updateFeed()
	if p.source == nil {
		return gpu.Sample{Time: time.Now(), Devices: []gpu.DeviceSample{}, Error: p.problem}
	}
	return p.source.sample()
}

// Listen makes sure that the event loop has something to listen to. It asks NVML for the GPUs at
// most once and for no figures, because reading figures may hang when an event is imminent.
func (p *localProbe) Listen() {
	p.mu.Lock()
	defer p.mu.Unlock()
	defer p.updateFeed()
	if p.source == nil && !p.closed {
		p.open()
	}
	if p.source != nil && p.source.eventSource() == nil {
		_, _ = p.source.inventory() // if it fails, there is still no source of events
	}
}

// updateFeed gives the event loop the current source of events.
func (p *localProbe) updateFeed() {
	if p.source == nil {
		p.feed.set(nil, p.problem)
		return
	}
	p.feed.set(p.source.eventSource(), "")
}

// Close ends the session with NVML. The library stays loaded.
func (p *localProbe) Close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.source != nil {
		p.source.close()
	}
	p.source, p.problem, p.closed = nil, "the probe is closed", true
}
