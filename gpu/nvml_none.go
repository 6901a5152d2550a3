//go:build !linux || nonvml

package gpu

import "errors"

// openNVML has nothing to open: this build leaves NVML out.
func openNVML(Options, func() []Device) (source, error) {
	return nil, errors.New("this build has no NVML (it was made with -tags nonvml)")
}
