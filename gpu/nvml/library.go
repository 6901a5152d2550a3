//go:build linux && !nonvml

package nvml

import (
	"sync/atomic"

	"github.com/ebitengine/purego"
)

// Library is a loaded libnvidia-ml. Its methods may be called from several goroutines at once.
type Library struct {
	handle    uintptr
	path      string
	addresses [symbolCount]atomic.Uintptr
}

// Path returns the file that the loader mapped, with links resolved. If the loader does not say
// which file that is, it returns the name that was asked for.
func (l *Library) Path() string { return l.path }

// initNoAttach is NVML_INIT_FLAG_NO_ATTACH.
const initNoAttach = 2

// Init initializes the library (nvmlInitWithFlags, nvmlInit_v2, nvmlInit). It does not attach to
// the GPUs, so that a broken GPU does not hide the others. Each GPU is attached when
// [Library.Device] returns it. Libraries that are too old to know this way of initializing do
// attach to all GPUs. Every successful Init needs one [Library.Shutdown].
//
// Errors: [ErrDriverNotLoaded], [ErrNoPermission], [ErrLibRMVersionMismatch] and others.
func (l *Library) Init() error {
	err := l.call(initWithFlags, initNoAttach)
	if tooNew(err) {
		err = l.callNewest([]symbol{initV2, initV1})
	}
	return err
}

// Shutdown undoes one Init (nvmlShutdown). The library stays mapped.
func (l *Library) Shutdown() error { return l.call(shutdown) }

// call calls one C function and returns its nvmlReturn_t as an error, which is nil for success.
//
// The directive keeps what the uintptr arguments point to alive and in place until the function
// returns. This works only if the conversion from unsafe.Pointer is in the argument list of the
// call.
//
//go:uintptrescapes
func (l *Library) call(s symbol, args ...uintptr) error {
	addr, err := l.address(s)
	if err != nil {
		return err
	}
	place := running.begin(s)
	r, _, _ := purego.SyscallN(addr, args...)
	running.end(place)
	// A C int is in the lower half of the register. The upper half is undefined.
	if ret := Return(int32(uint32(r))); ret != Success {
		return ret
	}
	return nil
}

// callNewest calls the first version of a function that the library knows. All versions take the
// same arguments.
//
//go:uintptrescapes
func (l *Library) callNewest(versions []symbol, args ...uintptr) error {
	err := l.call(versions[0], args...)
	for _, older := range versions[1:] {
		if !tooNew(err) {
			break
		}
		err = l.call(older, args...)
	}
	return err
}
