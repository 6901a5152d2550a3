package monitor

import (
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/gpulaunch/gpulaunch/gpu"
	"github.com/gpulaunch/gpulaunch/launcher/plan"
	"github.com/gpulaunch/gpulaunch/launcher/report"
)

// lossLog remembers which of the job's GPUs have been lost.
type lossLog struct {
	mu   sync.Mutex
	seen map[deviceKey]*loss // the latest loss of each
}

// deviceKey identifies a GPU of the plan or, if mig is not "", a MIG instance.
type deviceKey struct {
	index int
	mig   string
}

func keyOf(d *plan.Device) deviceKey {
	if d.ParentUUID == "" {
		return deviceKey{index: d.Index}
	}
	return deviceKey{d.Index, d.UUID}
}

// loss is when a device was found to be lost, and why.
type loss struct {
	report.GPULoss
	over time.Time // when it was found to work again; zero while it is lost
}

// findLosses compares the job's GPUs with those that NVML reports now, and tells the user once of
// each that is lost and of each that works again.
func (m *Monitor) findLosses(now []gpu.DeviceSample) {
	ranks := map[deviceKey][]int{}
	var devices []*plan.Device
	for _, w := range m.plan().Workers {
		if w.Device == nil {
			continue
		}
		key := keyOf(w.Device)
		if ranks[key] == nil {
			devices = append(devices, w.Device)
		}
		ranks[key] = append(ranks[key], w.Rank)
	}
	m.losses.mu.Lock()
	defer m.losses.mu.Unlock()
	for _, d := range devices {
		key, reason := keyOf(d), lossOf(d, now)
		before := m.losses.seen[key]
		isLost, wasLost := reason != "", before != nil && before.over.IsZero()
		switch {
		case isLost && !wasLost:
			m.losses.seen[key] = &loss{
				GPULoss: report.GPULoss{Time: time.Now().Round(0), Reason: reason}}
			m.Observer.Log(fmt.Sprintf("%s is lost: %s", gpuOf(d.Index, ranks[key]), reason))
		case !isLost && wasLost:
			before.over = time.Now()
			m.Observer.Log(gpuOf(d.Index, ranks[key]) + " works again")
		}
	}
}

// lossOf returns why a device can no longer be used, by what NVML reports now, or "".
func lossOf(d *plan.Device, now []gpu.DeviceSample) string {
	own := d.UUID
	if d.ParentUUID != "" {
		own = d.ParentUUID
	}
	whole := slices.IndexFunc(now, func(s gpu.DeviceSample) bool {
		return s.ParentUUID == "" && (own != "" && s.UUID == own || own == "" && s.Index == d.Index)
	})
	switch {
	case whole < 0:
		// A GPU that is lost may not even say which one it is.
		nameless := func(s gpu.DeviceSample) bool { return s.UUID == "" && s.Problem != "" }
		if i := slices.IndexFunc(now, nameless); i >= 0 {
			return now[i].Problem
		}
		return "NVML no longer lists it"
	case now[whole].Problem != "" || d.ParentUUID == "":
		return now[whole].Problem
	}
	instance := slices.IndexFunc(now, func(s gpu.DeviceSample) bool {
		return s.ParentUUID == own && s.UUID == d.UUID
	})
	if instance < 0 {
		return "NVML no longer lists its instance " + d.UUID
	}
	return now[instance].Problem
}

// Loss returns the loss of a worker's GPU that may have to do with the worker's end, or nil. A loss
// that was over before the worker's start, or xidWindow before its end, is left out.
func (m *Monitor) Loss(w *plan.Worker, start, end time.Time) *report.GPULoss {
	if w.Device == nil {
		return nil
	}
	m.losses.mu.Lock()
	defer m.losses.mu.Unlock()
	l := m.losses.seen[keyOf(w.Device)]
	if l == nil {
		return nil
	}
	if over := l.over; !over.IsZero() && (over.Before(start) || over.Before(end.Add(-xidWindow))) {
		return nil
	}
	found := l.GPULoss
	return &found
}

// Lost describes the GPUs of a plan that are known to be lost, one phrase for each.
func (m *Monitor) Lost(p plan.Plan) (list []string) {
	m.losses.mu.Lock()
	defer m.losses.mu.Unlock()
	for _, w := range p.Workers {
		if w.Device == nil {
			continue
		}
		if l := m.losses.seen[keyOf(w.Device)]; l != nil && l.over.IsZero() {
			list = append(list, fmt.Sprintf("%s is lost: %s", gpuOf(w.Device.Index, []int{w.Rank}),
				l.Reason))
		}
	}
	return list
}

// samplesOf returns what an inventory says about the GPUs as samples without figures.
func samplesOf(inv gpu.Inventory) (list []gpu.DeviceSample) {
	for _, d := range inv.Devices {
		list = append(list, gpu.DeviceSample{Index: d.Index, UUID: d.UUID, Problem: d.Problem})
		for _, i := range d.MIGInstances {
			list = append(list, gpu.DeviceSample{Index: d.Index, UUID: i.UUID, ParentUUID: d.UUID})
		}
	}
	return list
}
