// Package gputest makes inventories of GPUs that do not exist, for tests.
package gputest

import (
	"fmt"
	"strings"

	"github.com/gpulaunch/gpulaunch/gpu"
)

// UUID returns a UUID for the GPU with an index. It begins with "GPU-" and the index.
func UUID(i int) string { return fmt.Sprintf("GPU-%d%07d-1111-2222-3333-444444444444", i, i) }

// Inventory returns n healthy GPUs.
func Inventory(n int) gpu.Inventory {
	inv := gpu.Inventory{Source: gpu.SourceNVML, Devices: []gpu.Device{}}
	for i := range n {
		inv.Devices = append(inv.Devices, gpu.Device{
			Index: i, UUID: UUID(i), PCIBusID: fmt.Sprintf("0000:%02x:00.0", i+1),
		})
	}
	return inv
}

// IDs returns the IDs of the visible units, separated by blanks.
func IDs(v gpu.Visible) string {
	var list []string
	for _, u := range v.Units {
		list = append(list, u.ID)
	}
	return strings.Join(list, " ")
}
