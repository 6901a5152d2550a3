package monitor

import (
	"context"
	"os"
	"os/user"
	"slices"
	"strconv"
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
		return leftovers(p, m.Before, after, userName())
	case <-ctx.Done():
		return nil
	}
}

// leftovers returns the processes that compute on the GPUs of a plan after the job and did not
// before it. Processes that are known to be other users' are left out. A process of this user that
// is not the job's may be among them, because nothing tells where a process came from once its
// parents are gone.
func leftovers(p plan.Plan, before, after gpu.Inventory, user string) (list []report.GPUProcess) {
	for _, d := range after.Devices {
		w := slices.IndexFunc(p.Workers,
			func(w plan.Worker) bool { return w.Device.Matches(d.UUID, d.Index) })
		if w < 0 {
			continue
		}
		for _, process := range d.Processes {
			otherUser := process.User != "" && process.User != user
			if otherUser || onGPU(before, d, process.PID) || !p.Owns(d, process) {
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

// userName returns this process's user in the form in which package gpu names users.
func userName() string {
	number := strconv.Itoa(os.Geteuid())
	if u, err := user.LookupId(number); err == nil && u.Username != "" {
		return u.Username
	}
	return number
}
