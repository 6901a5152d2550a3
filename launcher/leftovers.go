package launcher

import (
	"fmt"
	"slices"

	"github.com/gpulaunch/gpulaunch/gpu"
	"github.com/gpulaunch/gpulaunch/launcher/internal/text"
	"github.com/gpulaunch/gpulaunch/launcher/plan"
)

// GPUProcess is a process on a GPU of a job.
type GPUProcess struct {
	// GPU is the device's index, UUID its own.
	GPU  int
	UUID string
	gpu.Process
}

// Leftovers are the processes that compute on the GPUs of a plan after the job and
// did not before it, those of other users than the given one left out. Somebody
// else's of the same user may be among them: once its parents are gone, nothing
// tells where a process came from.
func Leftovers(p plan.Plan, before, after gpu.Inventory, user string) (list []GPUProcess) {
	for _, d := range after.Devices {
		w := slices.IndexFunc(p.Workers, func(w plan.Worker) bool { return w.Device.Matches(d.UUID, d.Index) })
		if w < 0 {
			continue
		}
		for _, process := range d.Processes {
			stranger := process.User != "" && process.User != user
			if stranger || present(before, d, process.PID) || !p.Owns(d, process) {
				continue
			}
			list = append(list, GPUProcess{GPU: p.Workers[w].Device.Index, UUID: d.UUID, Process: process})
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

// leftoverLines name the processes that are still on the job's GPUs.
func (r Result) leftoverLines() (lines []string) {
	for _, p := range r.GPULeftovers[:min(len(r.GPULeftovers), mostLeftovers)] {
		lines = append(lines, fmt.Sprintf("still on GPU %d after the job: %s; end it, or its memory stays taken", p.GPU, plan.InWords(p.Process)))
	}
	if more := len(r.GPULeftovers) - mostLeftovers; more > 0 {
		lines = append(lines, text.Plural(more, "and %d more process is still on the job's GPUs", "and %d more processes are still on the job's GPUs"))
	}
	return lines
}

// mostLeftovers is how many are named on the terminal; the report has all.
const mostLeftovers = 8
