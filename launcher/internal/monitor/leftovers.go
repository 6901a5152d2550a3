package monitor

import (
	"context"
	"slices"
	"time"

	"github.com/gpulaunch/gpulaunch/gpu"
	"github.com/gpulaunch/gpulaunch/launcher/plan"
	"github.com/gpulaunch/gpulaunch/launcher/report"
)

const (
	// leftoversLimit is how long the GPUs may take to answer after the job, while the user waits
	// for the exit.
	leftoversLimit = time.Second
	// lateLimit is how long a query that is still under way then may take to end. A driver that
	// hangs must not hold up the exit.
	lateLimit = 250 * time.Millisecond
)

// Leftovers returns the processes that the job has left on its GPUs, and looks whether one of the
// GPUs is lost. It returns none if the GPUs do
// not answer within about a second and before ctx ends. No samples are taken after it.
func (m *Monitor) Leftovers(ctx context.Context) []report.GPUProcess {
	p := m.plan()
	if m.GPUs == nil || p.Mode != plan.ModeGPU || !m.queries.stop() {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, leftoversLimit)
	defer cancel()
	answer := make(chan gpu.Inventory, 1)
	go func() {
		if inv, err := m.GPUs.Inventory(ctx); err == nil && inv.Source == gpu.SourceNVML {
			answer <- inv
		} else {
			cancel()
		}
	}()
	select {
	case after := <-answer:
		m.findLosses(samplesOf(after))
		return leftovers(p, m.Before, after, m.Ours())
	case <-ctx.Done():
		return nil
	}
}

// leftovers returns the processes of the job that compute on the GPUs of a plan after it and did not
// before it. Nobody else's process is named: the user is told to end those that are.
func leftovers(p plan.Plan, before, after gpu.Inventory,
	ours map[int]bool) (list []report.GPUProcess) {
	for _, d := range after.Devices {
		w := slices.IndexFunc(p.Workers,
			func(w plan.Worker) bool { return w.Device.Matches(d.UUID, d.Index) })
		if w < 0 {
			continue
		}
		for _, process := range d.Processes {
			if !ours[process.PID] || onGPU(before, d, process.PID) || !p.Owns(d, process) {
				continue
			}
			list = append(list, report.GPUProcess{
				GPU: p.Workers[w].Device.Index, UUID: d.UUID, PID: process.PID,
				User: process.User, Command: process.Command, MemoryBytes: process.MemoryBytes,
			})
		}
	}
	return list
}

// onGPU reports whether the inventory has a process on the GPU d.
func onGPU(inv gpu.Inventory, d gpu.Device, pid int) bool {
	return slices.ContainsFunc(inv.Devices, func(e gpu.Device) bool {
		return e.UUID == d.UUID && (e.UUID != "" || e.Index == d.Index) &&
			slices.ContainsFunc(e.Processes, func(p gpu.Process) bool { return p.PID == pid })
	})
}
