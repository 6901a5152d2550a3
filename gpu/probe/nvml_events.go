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

// eventKinds are the events that are listened to, and what they are called.
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

// nvmlEvents is the events of the GPUs of one inventory. It does not change, so it needs no lock.
type nvmlEvents struct {
	lib  library
	gpus []nvmlGPU
}

// followEvents makes the present GPUs those whose events are listened to. As long as they stay the same nothing changes,
// since registering anew would lose what happens meanwhile.
func (s *nvmlSource) followEvents() {
	same := func(a, b nvmlGPU) bool {
		return a.attached == b.attached && a.handle == b.handle && a.device.UUID == b.device.UUID &&
			a.device.Index == b.device.Index && slices.EqualFunc(a.device.MIGInstances, b.device.MIGInstances, sameInstance)
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

// register starts the recording on each GPU, whatever the others answer.
func (e *nvmlEvents) register() (eventWaiter, string, error) {
	set, err := e.lib.NewEventSet()
	if err != nil {
		return nil, "", fmt.Errorf("NVML has no events: %s", nvmlText(err))
	}
	var silent []string
	registered := 0
	for _, g := range e.gpus {
		if err := g.register(set); err != nil {
			silent = append(silent, fmt.Sprintf("GPU %d (%s)", g.device.Index, nvmlText(err)))
		} else {
			registered++
		}
	}
	why := ""
	if len(silent) > 0 {
		why = "no events come from " + strings.Join(silent, ", ")
	}
	if registered == 0 {
		set.Free()
		return nil, why, nil
	}
	return &nvmlEventSet{eventSet: set, of: e}, why, nil
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

// nvmlEventSet is events on their way.
type nvmlEventSet struct {
	eventSet
	of *nvmlEvents
}

func (s *nvmlEventSet) free() { s.Free() }

func (s *nvmlEventSet) wait(limit time.Duration) (gpu.Event, bool, error) {
	e, err := s.Wait(limit)
	if errors.Is(err, nvml.ErrTimeout) {
		return gpu.Event{}, false, nil
	}
	if err != nil {
		return gpu.Event{}, false, fmt.Errorf("NVML cannot wait for events: %s", nvmlText(err))
	}
	if e.Type == 0 {
		return gpu.Event{}, false, errors.New("NVML cannot wait for events: it reports one without a type")
	}
	return s.of.translate(e), true, nil
}

// translate says whose event it is. One of a GPU that is not in the inventory has no UUID and the index -1.
func (e *nvmlEvents) translate(ev event) gpu.Event {
	x := gpu.Event{Time: time.Now(), Index: -1, Kind: kindOf(ev.Type), Count: 1}
	if x.Kind == gpu.EventXID {
		x.XID = ev.XID
	}
	i := slices.IndexFunc(e.gpus, func(g nvmlGPU) bool { return g.attached && g.handle == ev.gpu })
	if i >= 0 {
		d := e.gpus[i].device
		x.Index, x.UUID, x.MIG = d.Index, d.UUID, instanceOf(d, ev.GPUInstance, ev.ComputeInstance)
	}
	return x
}

func kindOf(t nvml.EventTypes) gpu.EventKind {
	for _, k := range eventKinds {
		if t&k.nvml != 0 {
			return k.kind
		}
	}
	return gpu.EventKind(fmt.Sprintf("type %#x", uint64(t)))
}

// instance is the UUID of the MIG instance with these ids, or "" if there is none, or if it could be several.
func instanceOf(d gpu.Device, gpuInstance, computeInstance uint32) string {
	found := ""
	for _, m := range d.MIGInstances {
		if !hasID(m.GPUInstance, gpuInstance) || computeInstance != nvml.NoInstance && !hasID(m.ComputeInstance, computeInstance) {
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
