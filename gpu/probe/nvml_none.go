//go:build !linux || nonvml

package probe

import (
	"errors"
	"time"

	"github.com/gpulaunch/gpulaunch/gpu"
)

// openNVML always fails, because this build does not contain the binding.
func openNVML(Options, func() []gpu.Device) (source, error) {
	return nil, loadError{errors.New("this build has no NVML (it was made with -tags nonvml)")}
}

// runningCall returns no call.
func runningCall() (function string, since time.Time, ok bool) { return "", time.Time{}, false }
