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

// libraryName is the name of the library that belongs to the driver. The one without the number is a link that
// development packages bring, often to a stub.
const libraryName = "libnvidia-ml.so.1"

// multiarch is Debian's name for the folder of this processor's libraries.
var multiarch = map[string]string{"amd64": "x86_64-linux-gnu", "arm64": "aarch64-linux-gnu"}[runtime.GOARCH]

// Candidates lists what [Open] tries without an explicit path, in order. The first one is a bare name, for which the
// dynamic loader searches its own way (LD_LIBRARY_PATH, /etc/ld.so.cache).
func Candidates() []string {
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

// Open maps the NVML library. With an explicit path it is that file or an error; without, the first of [Candidates]
// that can be had.
//
// A file in a folder called "stubs" is never used, however one gets there: it is the CUDA toolkit's stand-in to link
// against, and answers every call with an error. For an error, errors.Is(err, [ErrLibraryNotFound]) holds; its text
// tells in one line what was tried.
func Open(explicitPath string) (*Library, error) {
	if explicitPath == "" {
		return openFirst(Candidates())
	}
	// Made absolute because the loader searches elsewhere for a name without a slash.
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
	// The loader's own finds can be judged only once they are mapped; a path can be judged before.
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
	return fmt.Sprintf("%s: a stub to link against, not the driver's library", string(path))
}

// openError collects why no candidate would do.
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

// oneLine guards the log against a loader message or file name that spans lines.
func oneLine(s string) string { return text([]byte(s)) }
