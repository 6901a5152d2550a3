package plan

import (
	"fmt"
	"slices"
	"strings"

	"github.com/gpulaunch/gpulaunch/gpu"
)

// BusyMode says what to do with a GPU on which other processes compute.
type BusyMode string

const (
	// BusyWarn uses the GPU and warns, naming the processes.
	BusyWarn BusyMode = "warn"
	// BusySkip leaves the GPU out. If no GPU is left, that is an error. The job does not run on
	// CPUs instead.
	BusySkip BusyMode = "skip"
	// BusyWait is the same as BusyWarn in a plan, because planning does not wait. Whoever runs the
	// plan waits first.
	BusyWait BusyMode = "wait"
	// BusyFail makes it an error if a worker would get the GPU.
	BusyFail BusyMode = "fail"
)

// ParseBusyMode reads "warn", "skip", "wait" or "fail".
func ParseBusyMode(s string) (BusyMode, error) {
	switch m := BusyMode(s); m {
	case BusyWarn, BusySkip, BusyWait, BusyFail:
		return m, nil
	}
	return "", fmt.Errorf("invalid busy policy %q: use warn, skip, wait or fail", s)
}

// processesOn returns the processes on a unit. A process whose MIG instance is unknown counts for
// each instance.
func processesOn(u gpu.Unit) []gpu.Process {
	if u.Instance == nil {
		return u.Device.Processes
	}
	return slices.DeleteFunc(slices.Clone(u.Device.Processes), func(p gpu.Process) bool {
		return p.MIG != "" && p.MIG != u.Instance.UUID
	})
}

// busyWarnings returns a warning for each of the units on which others compute. With BusyFail, that
// is an error.
func busyWarnings(o Options, units []gpu.Unit) (list []string, err error) {
	if o.Busy == BusySkip {
		return nil, nil
	}
	for _, u := range units {
		if len(processesOn(u)) > 0 {
			list = append(list, fmt.Sprintf("%s is %s", u.Device.Label(), inUse(u)))
		}
	}
	if o.Busy == BusyFail && len(list) > 0 {
		return nil,
			fmt.Errorf("nothing is started, because of --busy=fail: %s; --busy=wait waits, "+
				"--busy=skip takes other GPUs", strings.Join(list, "; "))
	}
	return list, nil
}

// Busy describes the processes on the GPUs that the plan may use, one line for each GPU.
func (m Machine) Busy() []string {
	list, _ := busyWarnings(Options{Busy: BusyWarn}, m.Visible.Units) // BusyWarn never fails
	return list
}

// maxNamedProcesses is how many processes on a GPU are named.
const maxNamedProcesses = 4

// inUse describes the processes on a unit: "in use by process 42 (python3 of alice, 3.0 GiB)".
func inUse(u gpu.Unit) string {
	processes := processesOn(u)
	var list []string
	for _, p := range processes[:min(len(processes), maxNamedProcesses)] {
		list = append(list, p.String())
	}
	if more := len(processes) - maxNamedProcesses; more > 0 {
		list = append(list, fmt.Sprintf("%d more", more))
	}
	where := ""
	if u.Instance != nil {
		where = " in " + u.Instance.UUID
	}
	return fmt.Sprintf("in use%s by %s", where, strings.Join(list, ", "))
}

// Owns reports whether a process on GPU d is on a device that the plan gives to a worker.
func (p Plan) Owns(d gpu.Device, process gpu.Process) bool {
	return slices.ContainsFunc(p.Workers, func(w Worker) bool {
		return w.Device.Matches(d.UUID, d.Index) &&
			(w.Device.ParentUUID == "" || process.MIG == "" || process.MIG == w.Device.UUID)
	})
}

// Matches reports whether the device is the GPU with this UUID and index, or a MIG instance of it.
// Indexes may shift while a job runs, so they count only if the UUIDs are unknown.
func (d *Device) Matches(uuid string, index int) bool {
	if d == nil {
		return false
	}
	own := d.UUID
	if d.ParentUUID != "" {
		own = d.ParentUUID
	}
	return own == uuid && (uuid != "" || d.Index == index)
}
