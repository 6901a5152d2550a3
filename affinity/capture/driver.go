package capture

import (
	"fmt"
	"slices"
	"strings"

	"github.com/gpulaunch/gpulaunch/affinity"
)

const driverDir = "proc/driver/nvidia"

// versionWord is a driver's version. The rest of the driver's line names who built it, on which host.
var versionWord = pattern(`^[0-9]+(\.[0-9]+)+$`)

// addDriver adds what the kernel driver says of itself and its GPUs.
func (a archive) addDriver(from machine) {
	text, _ := from.read(driverDir + "/version")
	for word := range strings.FieldsSeq(linesOf(text, []string{"NVRM version"})) {
		if versionWord().MatchString(word) {
			a.addFile(driverDir+"/version", "NVRM version: NVIDIA UNIX Kernel Module "+word+"\n")
			break
		}
	}
	position := 0
	for _, gpu := range from.driverGPUs() {
		dir := driverDir + "/gpus/" + gpu
		a.addFolder(dir)
		information, ok := from.read(dir + "/information")
		if ok {
			a.addFile(dir+"/information", stripInformation(information, position))
		}
		if status, ok := from.read(dir + "/numa_status"); ok {
			a.addFile(dir+"/numa_status", linesOf(status, []string{"Node", "Status"}))
		}
		if !isExcluded(information) {
			position++
		}
	}
}

// driverGPUs returns the driver's GPUs in the order of their PCI addresses. A domain may have more than four digits.
func (m machine) driverGPUs() []string {
	var gpus []string
	for _, name := range m.names(driverDir + "/gpus") {
		if isPCI(name) {
			gpus = append(gpus, name)
		}
	}
	slices.SortStableFunc(gpus, func(a, b string) int { return len(a) - len(b) }) // the names are sorted within a length
	return gpus
}

func isPCI(name string) bool {
	address, err := affinity.CanonicalPCI(name)
	return err == nil && address == name
}

// isExcluded reports whether the driver leaves a GPU alone. Such a GPU has no place in the count of GPUs.
func isExcluded(information string) bool {
	_, value, _ := strings.Cut(linesOf(information, []string{"GPU Excluded", "GPU Blacklisted"}), ":")
	return strings.HasPrefix(strings.TrimSpace(value), "Yes")
}

// stripInformation returns a GPU's information file without what identifies it: its UUID becomes one made of its place
// among the GPUs. A GPU whose UUID the driver does not know yet, which it writes as question marks, keeps those.
func stripInformation(text string, position int) string {
	kept := linesOf(text, []string{"Model", "Bus Type", "Bus Location", "Device Minor", "GPU Excluded", "GPU Blacklisted"})
	uuid := linesOf(text, []string{"GPU UUID"})
	switch {
	case uuid == "" || isExcluded(text):
		return kept
	case strings.Contains(uuid, "?"):
		return kept + "GPU UUID:\tGPU-????????-????-????-????-????????????\n"
	}
	return kept + fmt.Sprintf("GPU UUID:\tGPU-00000000-0000-0000-0000-%012d\n", position)
}
