//go:build !linux || nonvml

package probe

import (
	"errors"

	"github.com/gpulaunch/gpulaunch/gpu"
)

// openNVML always fails, because this build does not contain the binding.
func openNVML(Options, func() []gpu.Device) (source, error) {
	return nil, loadError{errors.New("this build has no NVML (it was made with -tags nonvml)")}
}
