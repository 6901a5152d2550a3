//go:build linux && !nonvml

package nvml

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
)

// libraryName is the name of the library that belongs to the driver. Development packages have a
// link without the number, which often leads to a stub.
const libraryName = "libnvidia-ml.so.1"

// multiarch is Debian's name for the folder with this processor's libraries.
var multiarch = map[string]string{
	"amd64": "x86_64-linux-gnu", "arm64": "aarch64-linux-gnu",
}[runtime.GOARCH]

// candidates returns what [Open] tries without an explicit path, in this order. The first one is a
// bare name: the dynamic loader searches for it in its own way (LD_LIBRARY_PATH, /etc/ld.so.cache).
func candidates() []string {
	folders := []string{
		"/usr/lib/" + multiarch, // Debian, Ubuntu
		"/usr/lib/" + multiarch + "/nvidia/current",
		"/usr/lib/" + multiarch + "/nvidia", // Jetson
		"/usr/lib64",                        // RHEL, SUSE
		"/usr/lib64/nvidia",
		"/usr/lib",                // Arch
		"/usr/local/nvidia/lib64", // Kubernetes device plugins
		"/usr/local/nvidia/lib",
		"/usr/lib/wsl/lib",       // Windows Subsystem for Linux
		"/run/opengl-driver/lib", // NixOS
	}
	candidates := []string{libraryName}
	for _, folder := range folders {
		candidates = append(candidates, filepath.Join(folder, libraryName))
	}
	return candidates
}

// Open loads the NVML library from a file. If the path is "", it asks the dynamic loader, which
// searches LD_LIBRARY_PATH and /etc/ld.so.cache, and then looks into the folders where
// distributions and container runtimes put the library. The first one that can be loaded is used.
//
// A file in a folder called "stubs" is never used, not even through a link: it is the CUDA
// toolkit's stub for linking, which answers every call with an error.
//
// Every error of Open satisfies errors.Is(err, [ErrLibraryNotFound]). Its text says in one line
// what was tried.
func Open(explicitPath string) (*Library, error) {
	if explicitPath == "" {
		return openFirst(candidates())
	}
	// The path is made absolute because the loader would search other folders for a name without a
	// slash.
	path, err := filepath.Abs(explicitPath)
	if err != nil {
		return nil, &openError{unusable: []error{err}}
	}
	return openFirst([]string{path})
}

func openFirst(candidates []string) (*Library, error) {
	var failed openError
	for _, candidate := range candidates {
		lib, err := open(candidate)
		if err == nil {
			return lib, nil
		}
		failed.add(candidate, err)
	}
	return nil, &failed
}

func open(name string) (*Library, error) {
	// A path can be checked before it is loaded. What the loader finds for a bare name can be
	// checked only afterwards.
	if filepath.IsAbs(name) {
		if _, err := os.Stat(name); err != nil {
			return nil, err
		}
		if isStub(name) {
			return nil, stubError(name)
		}
	}
	handle, err := dlopen(name)
	if err != nil {
		return nil, err
	}
	file := mappedFile(handle)
	if isStub(file) {
		return nil, stubError(file)
	}
	if file == "" {
		file = name
	}
	return &Library{handle: handle, path: file}, nil
}

// isStub reports whether a path, with or without its links resolved, leads through a folder called
// "stubs".
func isStub(path string) bool {
	for _, p := range []string{path, resolved(path)} {
		if slices.Contains(strings.Split(p, "/"), "stubs") {
			return true
		}
	}
	return false
}

type stubError string

func (path stubError) Error() string {
	return fmt.Sprintf("%s: a stub for linking, not the driver's library", string(path))
}

// openError collects the reasons why no candidate could be loaded.
type openError struct {
	absent   []string
	unusable []error
}

func (e *openError) add(candidate string, err error) {
	if errors.Is(err, fs.ErrNotExist) {
		e.absent = append(e.absent, candidate)
		return
	}
	e.unusable = append(e.unusable, err)
}

func (e *openError) Error() string {
	var parts []string
	for _, err := range e.unusable {
		parts = append(parts, oneLine(err.Error()))
	}
	if len(e.absent) > 0 {
		parts = append(parts, "no such file: "+strings.Join(e.absent, ", "))
	}
	return "cannot open the NVML library: " + strings.Join(parts, "; ")
}

func (e *openError) Unwrap() error { return ErrLibraryNotFound }

// oneLine replaces line breaks and other control characters, which file names and the loader's
// messages may contain.
func oneLine(s string) string { return text([]byte(s)) }
