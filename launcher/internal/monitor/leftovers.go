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
	// leftoversLimit is how long an answer is waited for after the job, when the user
	// waits for the exit.
	leftoversLimit = time.Second
	// lateLimit is how long the end of a question that is under way is waited for then: a
	// driver that hangs must not hold up the exit.
	lateLimit = 250 * time.Millisecond
)

// Leftovers gives the processes that the job has left on its GPUs, as far as that is
// answered within a second and before ctx ends.
func (m *Monitor) Leftovers(ctx context.Context) []report.GPUProcess {
	if m.GPUs == nil || m.Plan.Mode != plan.ModeGPU || !m.asking.answers() {
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
		return leftovers(m.Plan, m.Before, after, userName())
	case <-ctx.Done():
		return nil
	}
}

// leftovers gives the processes that compute on the GPUs of a plan after the job and did not
// before it, without those of other users than the given one. Somebody else's of the same
// user may be among them: once its parents are gone, nothing tells where a process came
// from.
func leftovers(p plan.Plan, before, after gpu.Inventory, user string) (list []report.GPUProcess) {
	for _, d := range after.Devices {
		w := slices.IndexFunc(p.Workers,
			func(w plan.Worker) bool { return w.Device.Matches(d.UUID, d.Index) })
		if w < 0 {
			continue
		}
		for _, process := range d.Processes {
			stranger := process.User != "" && process.User != user
			if stranger || present(before, d, process.PID) || !p.Owns(d, process) {
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

// present reports whether a process was on the GPU.
func present(inv gpu.Inventory, d gpu.Device, pid int) bool {
	return slices.ContainsFunc(inv.Devices, func(e gpu.Device) bool {
		return e.UUID == d.UUID && (e.UUID != "" || e.Index == d.Index) &&
			slices.ContainsFunc(e.Processes, func(p gpu.Process) bool { return p.PID == pid })
	})
}

// userName is this process's user as package gpu names those of others.
func userName() string {
	number := strconv.Itoa(os.Geteuid())
	if u, err := user.LookupId(number); err == nil && u.Username != "" {
		return u.Username
	}
	return number
}
