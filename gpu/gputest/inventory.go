// Package gputest makes up machines with GPUs for tests.
package gputest

import (
	"fmt"
	"strings"

	"github.com/gpulaunch/gpulaunch/gpu"
)

// UUID is a GPU's UUID whose beginning tells the GPU's index.
func UUID(i int) string { return fmt.Sprintf("GPU-%d%07d-1111-2222-3333-444444444444", i, i) }

// Inventory is n healthy GPUs.
func Inventory(n int) gpu.Inventory {
	inv := gpu.Inventory{Source: gpu.SourceNVML, Devices: []gpu.Device{}}
	for i := range n {
		inv.Devices = append(inv.Devices, gpu.Device{
			Index: i, UUID: UUID(i), PCIBusID: fmt.Sprintf("0000:%02x:00.0", i+1),
		})
	}
	return inv
}

// IDs are the names by which CUDA_VISIBLE_DEVICES would call the visible units, with a
// blank between them.
func IDs(v gpu.Visible) string {
	var list []string
	for _, u := range v.Units {
		list = append(list, u.ID)
	}
	return strings.Join(list, " ")
}
