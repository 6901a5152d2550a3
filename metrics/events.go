package metrics

import (
	"slices"
	"strconv"

	"github.com/gpulaunch/gpulaunch/gpu"
)

// eventLimit bounds the series of what happened to GPUs: a driver can make up
// numbers for as long as it likes. Behind it, a GPU's events are counted together.
const eventLimit = 256

// otherEvents is the label for them, and for those that the driver's reader has
// not told apart.
const otherEvents = "other"

// gpuEvent is what events are counted by.
type gpuEvent struct {
	gpu, uuid string
	kind      gpu.EventKind // "" for an XID
	xid       string
	class     gpu.XIDClass
}

// recordEvent counts what happened to a GPU.
func (r *Recorder) recordEvent(e gpu.Event) {
	key := r.eventOf(e)
	if _, known := r.events[key]; !known && len(r.events) >= eventLimit {
		key.kind, key.xid, key.class = "", otherEvents, gpu.XIDOther
	}
	if r.events == nil {
		r.events = map[gpuEvent]uint64{}
	}
	r.events[key] += e.Count
}

func (r *Recorder) eventOf(e gpu.Event) (key gpuEvent) {
	// Others than the GPUs of the start have no series besides; without labels they
	// are bounded, too. Indexes may have shifted since, UUIDs have not.
	i := slices.IndexFunc(r.inventory.Devices, func(d gpu.Device) bool {
		return d.UUID == e.UUID && (d.UUID != "" || d.Index == e.Index)
	})
	if i >= 0 {
		key.gpu, key.uuid = strconv.Itoa(r.inventory.Devices[i].Index), e.UUID
	}
	switch e.Kind {
	case gpu.EventXID:
		key.class, _ = gpu.DescribeXID(e.XID)
		key.xid = strconv.FormatUint(e.XID, 10)
	case gpu.EventDropped:
		key.xid, key.class = otherEvents, gpu.XIDOther
	default:
		key.kind = e.Kind
	}
	return key
}

func (r *Recorder) collectEvents(o scrape) {
	for e, n := range r.events {
		if e.kind == "" {
			o.counter(gpuXIDs, float64(n), e.gpu, e.uuid, e.xid, string(e.class))
		} else {
			o.counter(gpuEvents, float64(n), e.gpu, e.uuid, string(e.kind))
		}
	}
}
