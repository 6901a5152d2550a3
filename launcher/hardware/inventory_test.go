//go:build linux

package hardware

import (
	"cmp"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/gpulaunch/gpulaunch/gpu"
	"github.com/gpulaunch/gpulaunch/launcher/launchertest"
)

// inventoryAgrees compares gpulaunch devices with nvidia-smi.
func inventoryAgrees(t *testing.T, r rig) ([]comparison, error) {
	rows, err := r.query("gpu", inventoryFields...)
	if err != nil {
		return nil, err
	}
	inv, err := r.inventory(t)
	if err != nil {
		return nil, err
	}
	list := compareInventory(rows, inv)
	table, err := r.smiSays()
	if err != nil {
		return nil, err
	}
	if version := cudaVersion(table); version != "" { // old drivers do not show it
		list = append(list, equal("CUDA version", version, inv.CUDAVersion))
	}
	return list, nil
}

// driverFilesAgree compares nvidia-smi with what the build without NVML says, which reads only the
// kernel driver's files.
func driverFilesAgree(t *testing.T, r rig) ([]comparison, error) {
	files, _ := filepath.Glob("/proc/driver/nvidia/gpus/*/information")
	if len(files) == 0 {
		return nil, skipped("the kernel driver has no files in /proc/driver/nvidia/gpus " +
			"(as under gVisor or WSL)")
	}
	for _, file := range files {
		// The driver reads the UUID when a process opens the GPU for the first time.
		if text, err := os.ReadFile(file); err == nil && strings.Contains(string(text), "GPU-?") {
			return nil, skipped("%s does not have the UUID yet: turn on persistence mode", file)
		}
	}
	binary, err := staticBinary(t)
	if err != nil {
		return nil, err
	}
	rows, err := r.query("gpu", "index", "name", "uuid", "pci.bus_id")
	if err != nil {
		return nil, err
	}
	var inv gpu.Inventory
	if err := r.ask(t, &inv, binary, "devices", "--json"); err != nil {
		return nil, err
	}
	return compareDriverFiles(rows, inv), nil
}

// staticBinary returns the path of a gpulaunch that was built without NVML.
func staticBinary(t *testing.T) (string, error) {
	if path := os.Getenv("GPULAUNCH_STATIC"); path != "" {
		return filepath.Abs(path)
	}
	if _, err := exec.LookPath("go"); err != nil {
		return "", skipped("there is no Go to build gpulaunch with -tags nonvml: " +
			"set GPULAUNCH_STATIC to the path of such a binary")
	}
	path := filepath.Join(t.TempDir(), "gpulaunch")
	return path, launchertest.Build(path, "-tags", "nonvml")
}

// timings measures how long it takes to find the GPUs. For comparison, it also measures nvidia-smi
// -L, which does little else.
func timings(t *testing.T, r rig) error {
	for _, c := range []struct {
		what string
		do   func() error
	}{
		{"gpulaunch devices --json", func() error { _, err := r.inventory(t); return err }},
		{"gpulaunch plan --json", func() error { _, err := r.plan(t); return err }},
		{"nvidia-smi -L", func() error { _, err := r.smiSays("-L"); return err }},
	} {
		var list []time.Duration
		for range 10 {
			begin := time.Now()
			if err := c.do(); err != nil {
				return err
			}
			list = append(list, time.Since(begin))
		}
		t.Logf(r.label()+"figure: %s takes %s (median of 10; the first one took %s)", c.what,
			launchertest.Median(list).Round(100*time.Microsecond),
			list[0].Round(100*time.Microsecond))
	}
	return nil
}

// verified prints the line for the README's list of tested hardware.
func verified(t *testing.T, r rig) error {
	inv, err := r.inventory(t)
	if err != nil {
		return err
	}
	var name unix.Utsname
	if err := unix.Uname(&name); err != nil {
		return err
	}
	line, err := verifiedOn(inv, unix.ByteSliceToString(name.Release[:]))
	if err == nil {
		t.Log(r.label() + line)
	}
	return err
}

// label returns a label for output that comes from fake GPUs.
func (r rig) label() string {
	if r.library != "" {
		return "(fake GPUs) "
	}
	return ""
}

// verifiedOn returns "verified on: card | driver | CUDA | kernel".
func verifiedOn(inv gpu.Inventory, kernel string) (string, error) {
	if inv.Source != gpu.SourceNVML || len(inv.Devices) == 0 {
		return "", fmt.Errorf("nothing was verified: the source of %d GPUs is %s (%s)",
			len(inv.Devices), inv.Source, inv.Reason)
	}
	var cards []string
	count := map[string]int{}
	for _, d := range inv.Devices {
		if count[d.Name]++; count[d.Name] == 1 {
			cards = append(cards, d.Name)
		}
	}
	for i, card := range cards {
		cards[i] = fmt.Sprintf("%d × %s", count[card], cmp.Or(card, "unknown"))
	}
	return fmt.Sprintf("verified on: %s | %s | %s | %s", strings.Join(cards, ", "),
		cmp.Or(inv.DriverVersion, "unknown"), cmp.Or(inv.CUDAVersion, "unknown"), kernel), nil
}
