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

// report is what a Python worker reports about itself: the device that gpulaunch has assigned to
// it, and the devices that CUDA shows it.
type report struct {
	PID       int       `json:"pid"`
	Rank      int       `json:"rank"`
	LocalRank int       `json:"local_rank"`
	UUID      string    `json:"uuid"`
	PCI       string    `json:"pci"`
	Bytes     uint64    `json:"bytes"`
	Devices   []visible `json:"devices"`
}

// visible is a device as CUDA describes it. The UUID does not begin with GPU- or MIG-. A field is
// "" if the worker cannot find out its value.
type visible struct {
	UUID string `json:"uuid"`
	Name string `json:"name"`
	PCI  string `json:"pci"`
}

// reports waits for the reports of n workers, and returns them by rank.
func reports(t *testing.T, j *launchertest.Job, n int) ([]report, error) {
	t.Helper()
	list := make([]report, n)
	for i, text := range j.Await(n, `gpu (\{.*\})$`) {
		if err := json.Unmarshal([]byte(text), &list[i]); err != nil {
			return nil, fmt.Errorf("a worker's report is not JSON: %w in %s", err, text)
		}
	}
	slices.SortFunc(list, func(a, b report) int { return a.Rank - b.Rank })
	return list, nil
}

// awaitSuccess waits for the end of a job, and wants exit code 0.
func awaitSuccess(j *launchertest.Job) error {
	if code, stderr := j.Exit(); code != 0 {
		return fmt.Errorf("the job ended with exit code %d: %s", code, stderr)
	}
	return nil
}

// devices runs a job of count workers that report which devices they see.
func (r rig) devices(t *testing.T, count int, args ...string) ([]report, error) {
	t.Helper()
	args = r.args("run", append(args, script(t, "driver_worker.py"), "look")...)
	j := launchertest.Start(t, r.jobEnv(), args...)
	list, err := reports(t, j, count)
	if err != nil {
		return nil, err
	}
	return list, awaitSuccess(j)
}

// checkPinned wants a worker to see its own device and no other device.
func checkPinned(rep report, inv gpu.Inventory) error {
	if len(rep.Devices) != 1 {
		return fmt.Errorf("rank %d sees %d devices, not one: %v",
			rep.Rank, len(rep.Devices), rep.Devices)
	}
	return checkDevice(rep, 0, rep.UUID, inv)
}

// checkDevice wants one of the devices that a worker sees to be the GPU or MIG instance with a
// UUID.
func checkDevice(rep report, number int, uuid string, inv gpu.Inventory) error {
	if number >= len(rep.Devices) {
		return fmt.Errorf("rank %d sees %d devices, but no device %d",
			rep.Rank, len(rep.Devices), number)
	}
	seen := rep.Devices[number]
	d, instance := owner(inv, uuid)
	if d == nil {
		return fmt.Errorf("rank %d is given %q, which gpulaunch devices does not list",
			rep.Rank, uuid)
	}
	// For a MIG instance, the CUDA runtime, and therefore PyTorch, may say the UUID of the whole
	// GPU. Before driver R470, instances do not have UUIDs of their own.
	allowed := []string{"", bare(uuid)}
	if instance {
		allowed = append(allowed, bare(d.UUID))
	}
	legacy := strings.HasPrefix(uuid, "MIG-GPU-")
	if !legacy && !slices.Contains(allowed, seen.UUID) {
		return fmt.Errorf("rank %d is given %q, but CUDA shows it %q",
			rep.Rank, uuid, seen.UUID)
	}
	if seen.PCI != "" && pciForm(seen.PCI) != d.PCIBusID {
		return fmt.Errorf("rank %d is given the GPU at %s, but CUDA shows it the one at %s",
			rep.Rank, d.PCIBusID, seen.PCI)
	}
	if !instance && shortName(seen.Name) != shortName(d.Name) {
		return fmt.Errorf("rank %d is given %q, but CUDA calls it %q",
			rep.Rank, d.Name, seen.Name)
	}
	return nil
}

// owner returns the GPU with a UUID, or the GPU that has a MIG instance with it.
func owner(inv gpu.Inventory, uuid string) (d *gpu.Device, instance bool) {
	for i, d := range inv.Devices {
		if d.UUID == uuid {
			return &inv.Devices[i], false
		}
		matches := func(m gpu.MIGInstance) bool { return m.UUID == uuid }
		if slices.ContainsFunc(d.MIGInstances, matches) {
			return &inv.Devices[i], true
		}
	}
	return nil, false
}

// bare returns a UUID in the form of CUDA's functions.
func bare(uuid string) string {
	return strings.ToLower(strings.TrimPrefix(strings.TrimPrefix(uuid, "GPU-"), "MIG-"))
}

// shortName returns a name without "NVIDIA", which it does not contain before driver R470.
func shortName(name string) string { return strings.TrimPrefix(name, "NVIDIA ") }

// isSplit reports whether a GPU is in MIG mode.
func isSplit(inv gpu.Inventory) bool {
	return slices.ContainsFunc(inv.Devices, func(d gpu.Device) bool { return d.MIG })
}

// checkNoDriverFiles wants none of the driver's files to be among the open files of a worker.
func checkNoDriverFiles(targets []string) error {
	for _, target := range targets {
		if strings.HasPrefix(target, "/dev/nvidia") {
			return fmt.Errorf("the worker has %s open", target)
		}
	}
	return nil
}
