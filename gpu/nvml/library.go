//go:build linux && !nonvml

package nvml

import (
	"sync/atomic"

	"github.com/ebitengine/purego"
)

// Library is an opened libnvidia-ml. Its methods may be called from several goroutines at once.
type Library struct {
	handle    uintptr
	path      string
	addresses [symbolCount]atomic.Uintptr
}

// Path is the file that the loader mapped, links resolved, or what was asked for where the loader would not tell.
func (l *Library) Path() string { return l.path }

// initNoAttach is NVML_INIT_FLAG_NO_ATTACH.
const initNoAttach = 2

// Init starts the library. It does not attach to the GPUs, so that one broken GPU does not keep the others from being
// seen: each is attached when its handle is asked for. Libraries that are too old to be told so are started the way
// they know. Every successful Init needs one [Library.Shutdown].
//
// Errors: [ErrDriverNotLoaded], [ErrNoPermission], [ErrLibRMVersionMismatch] and others (nvmlInitWithFlags, nvmlInit_v2).
func (l *Library) Init() error {
	err := l.call(initWithFlags, initNoAttach)
	if tooNew(err) {
		err = l.callNewest([]symbol{initV2, initV1})
	}
	return err
}

// Shutdown undoes one Init (nvmlShutdown). The library stays mapped.
func (l *Library) Shutdown() error { return l.call(shutdown) }

// call calls one C function and turns its nvmlReturn_t into an error, nil for success.
//
// The directive keeps what the uintptr arguments point to alive and at its place until the function returns, provided
// that the conversion from unsafe.Pointer stands in the argument list of the call.
//
//go:uintptrescapes
func (l *Library) call(s symbol, args ...uintptr) error {
	addr, err := l.address(s)
	if err != nil {
		return err
	}
	r, _, _ := purego.SyscallN(addr, args...)
	// A C int lies in the low half of the register; what the upper half holds is undefined.
	if ret := Return(int32(uint32(r))); ret != Success {
		return ret
	}
	return nil
}

// callNewest calls the first of several versions of a function that the library knows. All take the same arguments.
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
