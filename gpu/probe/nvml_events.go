//go:build linux && !nonvml

package probe

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/gpulaunch/gpulaunch/gpu"
	"github.com/gpulaunch/gpulaunch/gpu/nvml"
)

// eventKinds are the events that are listened to, with their names.
var eventKinds = []struct {
	nvml nvml.EventTypes
	kind gpu.EventKind
}{
	{nvml.EventXID, gpu.EventXID},
	{nvml.EventDoubleBitECC, gpu.EventDoubleBitECC},
	{nvml.EventRetirement, gpu.EventRetirement},
	{nvml.EventRetirementFailed, gpu.EventRetirementFailed},
	{nvml.EventNonFatalPoison, gpu.EventNonFatalPoison},
	{nvml.EventFatalPoison, gpu.EventFatalPoison},
	{nvml.EventGPUUnavailable, gpu.EventGPUUnavailable},
	{nvml.EventRecoveryAction, gpu.EventRecoveryAction},
}

// nvmlEvents is the source of events for the GPUs of one inventory. It is never changed, so it
// needs no lock.
type nvmlEvents struct {
	lib  library
	gpus []nvmlGPU
}

// followEvents makes the current GPUs those whose events are listened to. If they are the same as
// before, the source stays the same, because events that happen while GPUs are registered again
// would be lost.
func (s *nvmlSource) followEvents() {
	same := func(a, b nvmlGPU) bool {
		return a.attached == b.attached && a.handle == b.handle &&
			a.device.UUID == b.device.UUID && a.device.Index == b.device.Index &&
			slices.EqualFunc(a.device.MIGInstances, b.device.MIGInstances, sameInstance)
	}
	if s.events == nil || !slices.EqualFunc(s.events.gpus, s.gpus, same) {
		s.events = &nvmlEvents{lib: s.lib, gpus: slices.Clone(s.gpus)}
	}
}

func sameInstance(a, b gpu.MIGInstance) bool { return a.UUID == b.UUID }

func (s *nvmlSource) eventSource() eventSource {
	if s.events == nil {
		return nil
	}
	return s.events
}

// register starts recording on each GPU. A GPU that fails does not affect the others.
func (e *nvmlEvents) register() (eventWaiter, string, error) {
	set, err := e.lib.NewEventSet()
	if err != nil {
		return nil, "", fmt.Errorf("NVML has no events: %s", errorText(err))
	}
	var without []string
	registered := 0
	for _, g := range e.gpus {
		if err := g.register(set); err != nil {
			without = append(without, fmt.Sprintf("GPU %d (%s)", g.device.Index, errorText(err)))
		} else {
			registered++
		}
	}
	reason := ""
	if len(without) > 0 {
		reason = "no events come from " + strings.Join(without, ", ")
	}
	if registered == 0 {
		set.Free()
		return nil, reason, nil
	}
	return &nvmlEventSet{eventSet: set, source: e}, reason, nil
}

func (g *nvmlGPU) register(set eventSet) error {
	if !g.attached {
		return errors.New(g.device.Problem)
	}
	supported, err := g.handle.SupportedEvents()
	if err != nil {
		return err
	}
	var wanted nvml.EventTypes
	for _, k := range eventKinds {
		wanted |= k.nvml & supported
	}
	if wanted == 0 {
		return nvml.ErrNotSupported
	}
	return set.Register(g.handle, wanted)
}

// nvmlEventSet receives the events of the GPUs that were registered.
type nvmlEventSet struct {
	eventSet
	source *nvmlEvents
}

func (s *nvmlEventSet) free() { s.Free() }

func (s *nvmlEventSet) wait(limit time.Duration) (gpu.Event, bool, error) {
	e, err := s.Wait(limit)
	if errors.Is(err, nvml.ErrTimeout) {
		return gpu.Event{}, false, nil
	}
	if err != nil {
		return gpu.Event{}, false, fmt.Errorf("NVML cannot wait for events: %s", errorText(err))
	}
	if e.Type == 0 {
		return gpu.Event{}, false, errors.New(
			"NVML cannot wait for events: it reports one without a type")
	}
	return s.source.translate(e), true, nil
}

// translate adds the names of the GPU and the MIG instance. A GPU that is not in the inventory gets
// no UUID and the index -1.
func (e *nvmlEvents) translate(ev event) gpu.Event {
	x := gpu.Event{Time: time.Now(), Index: -1, Kind: eventKindOf(ev.Type), Count: 1}
	if x.Kind == gpu.EventXID {
		x.XID = ev.XID
	}
	i := slices.IndexFunc(e.gpus, func(g nvmlGPU) bool {
		return g.attached && g.handle == ev.gpu
	})
	if i >= 0 {
		d := e.gpus[i].device
		x.Index, x.UUID = d.Index, d.UUID
		x.MIG = instanceUUID(d, ev.GPUInstance, ev.ComputeInstance)
	}
	return x
}

func eventKindOf(t nvml.EventTypes) gpu.EventKind {
	for _, k := range eventKinds {
		if t&k.nvml != 0 {
			return k.kind
		}
	}
	return gpu.EventKind(fmt.Sprintf("type %#x", uint64(t)))
}

// instanceUUID returns the UUID of the MIG instance with these ids, or "" if no instance or more
// than one matches.
func instanceUUID(d gpu.Device, gpuInstance, computeInstance uint32) string {
	found := ""
	for _, m := range d.MIGInstances {
		if !hasID(m.GPUInstance, gpuInstance) {
			continue
		}
		if computeInstance != nvml.NoInstance && !hasID(m.ComputeInstance, computeInstance) {
			continue
		}
		if found != "" {
			return ""
		}
		found = m.UUID
	}
	return found
}

func hasID(known *int, id uint32) bool { return known != nil && *known == int(id) }
