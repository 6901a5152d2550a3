package capture

import (
	"fmt"
	"slices"
	"strings"

	"github.com/gpulaunch/gpulaunch/affinity"
)

const driverDir = "proc/driver/nvidia"

// versionWord matches a driver's version. The rest of the driver's line says who built it on which
// host.
var versionWord = pattern(`^[0-9]+(\.[0-9]+)+$`)

// addDriver adds what the kernel driver says about itself and its GPUs.
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

// driverGPUs returns the PCI addresses of the driver's GPUs in ascending order. A domain may have
// more than four digits.
func (m machine) driverGPUs() []string {
	var gpus []string
	for _, name := range m.names(driverDir + "/gpus") {
		if isPCI(name) {
			gpus = append(gpus, name)
		}
	}
	// Names of equal length are sorted already.
	slices.SortStableFunc(gpus, func(a, b string) int { return len(a) - len(b) })
	return gpus
}

func isPCI(name string) bool {
	address, err := affinity.CanonicalPCI(name)
	return err == nil && address == name
}

// isExcluded reports whether the driver does not use a GPU. Such a GPU does not count among the
// GPUs.
func isExcluded(information string) bool {
	line := linesOf(information, []string{"GPU Excluded", "GPU Blacklisted"})
	_, value, _ := strings.Cut(line, ":")
	return strings.HasPrefix(strings.TrimSpace(value), "Yes")
}

// stripInformation returns a GPU's information file without what identifies the GPU. Its UUID is
// replaced by one that is made from its position among the GPUs. If the driver does not know the
// UUID yet, it writes question marks, which are kept.
func stripInformation(text string, position int) string {
	kept := linesOf(text, []string{
		"Model", "Bus Type", "Bus Location", "Device Minor", "GPU Excluded", "GPU Blacklisted",
	})
	uuid := linesOf(text, []string{"GPU UUID"})
	switch {
	case uuid == "" || isExcluded(text):
		return kept
	case strings.Contains(uuid, "?"):
		return kept + "GPU UUID:\tGPU-????????-????-????-????-????????????\n"
	}
	return kept + fmt.Sprintf("GPU UUID:\tGPU-00000000-0000-0000-0000-%012d\n", position)
}
