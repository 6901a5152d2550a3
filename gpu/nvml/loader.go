//go:build linux && !nonvml

package nvml

import (
	"path/filepath"
	"runtime"
	"strings"
	"unsafe"

	"github.com/ebitengine/purego"
)

// dlopen maps a library. With RTLD_NOW, a library that has unresolvable references fails here with
// an error. Otherwise the loader would end the process at a later call. RTLD_LOCAL keeps NVML's
// symbols out of other libraries.
func dlopen(name string) (uintptr, error) {
	// purego gets the text of an error with a second call, dlerror, and the C library keeps that
	// text per thread.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	return purego.Dlopen(name, purego.RTLD_NOW|purego.RTLD_LOCAL)
}

// linkMap is the beginning of the loader's struct link_map (link.h).
type linkMap struct {
	_    uintptr
	name *byte
}

// dlinfoLinkMap is RTLD_DI_LINKMAP (dlfcn.h).
const dlinfoLinkMap = 2

// mappedFile asks the loader which file it mapped for a handle, and resolves links. It returns ""
// if the loader does not say.
func mappedFile(handle uintptr) string {
	dlinfo, err := purego.Dlsym(purego.RTLD_DEFAULT, "dlinfo")
	if err != nil {
		return ""
	}
	var m *linkMap
	r, _, _ := purego.SyscallN(dlinfo, handle, dlinfoLinkMap, uintptr(unsafe.Pointer(&m)))
	if int32(uint32(r)) != 0 || m == nil {
		return ""
	}
	return resolved(cString(m.name))
}

// cString copies a NUL-terminated string out of C memory.
func cString(p *byte) string {
	var b strings.Builder
	for ; p != nil && *p != 0; p = (*byte)(unsafe.Add(unsafe.Pointer(p), 1)) {
		b.WriteByte(*p)
	}
	return b.String()
}

// resolved returns path without symbolic links, or path itself if they lead nowhere.
func resolved(path string) string {
	if real, err := filepath.EvalSymlinks(path); err == nil {
		return real
	}
	return path
}
