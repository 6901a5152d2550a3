package probe

import (
	"fmt"
	"sync"
	"time"

	"github.com/gpulaunch/gpulaunch/gpu"
)

// Probe keeps NVML open and asks it again and again. NVML may hang or crash, and a Probe hangs and crashes with it: it
// belongs into a child (see [Client]) wherever that matters. Its methods may be called from several goroutines.
type Probe struct {
	options Options
	feed    feed // what the event loop listens to

	mu     sync.Mutex
	source source // nil: NVML does not work, and broken says why
	broken string
	closed bool
}

// NewProbe opens NVML. It never fails: a Probe without NVML answers from the driver's files.
func NewProbe(o Options) *Probe {
	p := &Probe{options: o}
	p.open()
	return p
}

func (p *Probe) open() {
	if p.options.Library == "" && !DriverPresent(p.options.Root) {
		p.broken = reasonNoDriver
		return
	}
	source, err := openNVML(p.options, p.listed)
	if err != nil {
		p.broken = err.Error()
		return
	}
	p.source, p.broken = source, ""
}

// listed is the driver's own list. Without one, NVML has to do alone.
func (p *Probe) listed() []gpu.Device {
	devices, _ := driverDevices(p.options.Root)
	return devices
}

// Inventory lists the GPUs anew. Where NVML did not work before, it is tried again.
func (p *Probe) Inventory() gpu.Inventory {
	p.mu.Lock()
	defer p.mu.Unlock()
	defer p.tellFeed()
	if p.source == nil && !p.closed {
		p.open()
	}
	if p.source == nil {
		return withoutNVML(p.options.Root, p.broken)
	}
	inv, err := p.source.inventory()
	if err != nil {
		return withoutNVML(p.options.Root, err.Error())
	}
	if len(inv.Devices) == 0 {
		return withoutNVML(p.options.Root, fmt.Sprintf("NVML %s from %s works but lists no GPU", inv.NVMLVersion, inv.Library))
	}
	return inv
}

// Sample reads the figures of this moment. Without NVML there are none, and Error says why.
func (p *Probe) Sample() gpu.Sample {
	p.mu.Lock()
	defer p.mu.Unlock()
	defer p.tellFeed()
	if p.source == nil {
		return gpu.Sample{Time: time.Now(), Devices: []gpu.DeviceSample{}, Error: p.broken}
	}
	return p.source.sample()
}

// Listen makes sure that the event loop has something to listen to. It asks NVML once, and for no figures: these may
// hang when an event is about to come.
func (p *Probe) Listen() {
	p.mu.Lock()
	defer p.mu.Unlock()
	defer p.tellFeed()
	if p.source == nil && !p.closed {
		p.open()
	}
	if p.source != nil && p.source.eventSource() == nil {
		_, _ = p.source.inventory() // without one there is nothing to listen to, which the feed tells
	}
}

// tellFeed lets the event loop know whose events there are now.
func (p *Probe) tellFeed() {
	if p.source == nil {
		p.feed.set(nil, p.broken)
		return
	}
	p.feed.set(p.source.eventSource(), "")
}

// Close ends the session with NVML. The library itself stays loaded.
func (p *Probe) Close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.source != nil {
		p.source.close()
	}
	p.source, p.broken, p.closed = nil, "the probe is closed", true
}
