//go:build linux

package hardware

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/gpulaunch/gpulaunch/gpu"
	"github.com/gpulaunch/gpulaunch/launcher/launchertest"
)

// report is what a Python worker says of itself: the device that gpulaunch named
// to it and those that CUDA shows it.
type report struct {
	PID       int       `json:"pid"`
	Rank      int       `json:"rank"`
	LocalRank int       `json:"local_rank"`
	UUID      string    `json:"uuid"`
	PCI       string    `json:"pci"`
	Bytes     uint64    `json:"bytes"`
	Devices   []visible `json:"devices"`
}

// visible is a device as CUDA describes it: its UUID is without GPU- or MIG-. What
// the worker cannot find out is "".
type visible struct {
	UUID string `json:"uuid"`
	Name string `json:"name"`
	PCI  string `json:"pci"`
}

// reports waits for those of n workers and gives them by rank.
func reports(t *testing.T, j *launchertest.Job, n int) ([]report, error) {
	t.Helper()
	list := make([]report, n)
	for i, text := range j.Await(n, `gpu (\{.*\})$`) {
		if err := json.Unmarshal([]byte(text), &list[i]); err != nil {
			return nil, fmt.Errorf("%w in %s", err, text)
		}
	}
	slices.SortFunc(list, func(a, b report) int { return a.Rank - b.Rank })
	return list, nil
}

// finished waits for a job's good end.
func finished(j *launchertest.Job) error {
	if code, stderr := j.Exit(); code != 0 {
		return fmt.Errorf("exit code %d: %s", code, stderr)
	}
	return nil
}

// look runs a job of workers that say what they see, as many as count says.
func (r rig) look(t *testing.T, count int, args ...string) ([]report, error) {
	t.Helper()
	j := launchertest.Start(t, r.jobEnv(), r.args("run", append(args, script(t, "driver_worker.py"), "look")...)...)
	list, err := reports(t, j, count)
	if err != nil {
		return nil, err
	}
	return list, finished(j)
}

// pinned wants a worker to see its own device and no other one.
func pinned(rep report, inv gpu.Inventory) error {
	if len(rep.Devices) != 1 {
		return fmt.Errorf("rank %d sees %d devices, not one: %v", rep.Rank, len(rep.Devices), rep.Devices)
	}
	return sees(rep, 0, rep.UUID, inv)
}

// sees wants a worker's device with a number to be the GPU or MIG instance with a
// UUID.
func sees(rep report, number int, uuid string, inv gpu.Inventory) error {
	if number >= len(rep.Devices) {
		return fmt.Errorf("rank %d sees %d devices, and none with number %d", rep.Rank, len(rep.Devices), number)
	}
	seen := rep.Devices[number]
	d, instance := owner(inv, uuid)
	if d == nil {
		return fmt.Errorf("rank %d is given %q, which gpulaunch devices does not list", rep.Rank, uuid)
	}
	// The runtime, and with it PyTorch, may tell the UUID of the whole GPU for an
	// instance of it. Instances of drivers before R470 have no UUID of their own.
	allowed := []string{"", bare(uuid)}
	if instance {
		allowed = append(allowed, bare(d.UUID))
	}
	legacy := strings.HasPrefix(uuid, "MIG-GPU-")
	if !legacy && !slices.Contains(allowed, seen.UUID) {
		return fmt.Errorf("rank %d is given %q, but CUDA shows it %q", rep.Rank, uuid, seen.UUID)
	}
	if seen.PCI != "" && pciForm(seen.PCI) != d.PCIBusID {
		return fmt.Errorf("rank %d is given the GPU at %s, but CUDA shows it the one at %s", rep.Rank, d.PCIBusID, seen.PCI)
	}
	if !instance && shortName(seen.Name) != shortName(d.Name) {
		return fmt.Errorf("rank %d is given %q, but CUDA calls it %q", rep.Rank, d.Name, seen.Name)
	}
	return nil
}

// owner is the GPU that has a UUID, or the one with such a MIG instance.
func owner(inv gpu.Inventory, uuid string) (d *gpu.Device, instance bool) {
	for i, d := range inv.Devices {
		if d.UUID == uuid {
			return &inv.Devices[i], false
		}
		if slices.ContainsFunc(d.MIGInstances, func(m gpu.MIGInstance) bool { return m.UUID == uuid }) {
			return &inv.Devices[i], true
		}
	}
	return nil, false
}

// bare is a UUID as CUDA's functions give it.
func bare(uuid string) string {
	return strings.ToLower(strings.TrimPrefix(strings.TrimPrefix(uuid, "GPU-"), "MIG-"))
}

// shortName is without the maker, whom drivers before R470 do not name.
func shortName(name string) string { return strings.TrimPrefix(name, "NVIDIA ") }

// isSplit reports whether some GPU is in MIG mode.
func isSplit(inv gpu.Inventory) bool {
	return slices.ContainsFunc(inv.Devices, func(d gpu.Device) bool { return d.MIG })
}

// heldFiles wants none of the driver's files among those that a worker inherited.
func heldFiles(targets []string) error {
	if i := slices.IndexFunc(targets, func(s string) bool { return strings.HasPrefix(s, "/dev/nvidia") }); i >= 0 {
		return fmt.Errorf("the worker has inherited %s, open", targets[i])
	}
	return nil
}
