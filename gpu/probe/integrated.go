package probe

import (
	"fmt"
	"os"
	"strings"

	"github.com/gpulaunch/gpulaunch/gpu"
)

// integratedFiles are device files of nvgpu, the driver of the GPU that is part of an NVIDIA Tegra.
// CUDA uses that GPU through them. The last one is that of newer drivers (L4T 36).
var integratedFiles = []string{
	"/dev/nvhost-gpu", "/dev/nvhost-ctrl-gpu", "/dev/nvgpu/igpu0/ctrl",
}

// modelFile names the board, with a NUL at its end, as in "NVIDIA Jetson AGX Orin Developer Kit".
const modelFile = "/proc/device-tree/model"

// integratedInventory returns the inventory of a machine whose only GPU is part of an NVIDIA Tegra,
// or false if there is none. The reason says why neither NVML nor the driver's files list it.
func integratedInventory(root, reason string) (gpu.Inventory, bool) {
	for _, file := range integratedFiles {
		if _, err := os.Stat(inRoot(root, file)); err != nil {
			continue
		}
		name := "NVIDIA Tegra"
		if model, err := readDriverFile(inRoot(root, modelFile)); err == nil {
			if model = printable(strings.TrimRight(model, "\x00")); model != "" {
				name = model
			}
		}
		return gpu.Inventory{
			Source: gpu.SourceIntegrated,
			Reason: fmt.Sprintf("%s; using the integrated GPU of %s (%s exists), with "+
				"CUDA_VISIBLE_DEVICES left as it is", reason, name, file),
			Devices: []gpu.Device{{Name: name, Integrated: true}},
		}, true
	}
	return gpu.Inventory{}, false
}

// withoutDevices returns the inventory of a machine of which neither NVML nor the driver's files
// list a GPU: that of its integrated GPU, or an empty one.
func withoutDevices(root, reason string) gpu.Inventory {
	if inv, ok := integratedInventory(root, reason); ok {
		return inv
	}
	return emptyInventory(reason)
}
