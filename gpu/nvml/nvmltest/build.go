package nvmltest

import (
	"crypto/sha256"
	"embed"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
)

//go:embed testdata/*.c testdata/*.h
var sources embed.FS

var compilerFlags = []string{
	"-std=gnu11", "-O1", "-g", "-fPIC", "-fvisibility=hidden", "-Wall", "-Wextra", "-Werror",
	"-shared",
}

// built holds the result of each build. The key is the set of missing functions.
var built struct {
	sync.Mutex
	libraries map[string]library
}

type library struct {
	path string
	err  error
}

// Build returns the path of the fake library, without the functions named in missing: dlsym does
// not find those. It compiles once per source, compiler and set of functions, and keeps the result
// in the user's cache folder. If there is no C compiler, the test is skipped.
//
// The library reads its machine from the folder that it lies in. [Install] returns a library with a
// machine.
func Build(tb testing.TB, missing ...string) string {
	tb.Helper()
	compiler := compilerPath(tb)
	missing = slices.Compact(slices.Sorted(slices.Values(missing)))
	key := strings.Join(missing, " ")

	built.Lock()
	defer built.Unlock()
	lib, done := built.libraries[key]
	if !done {
		lib.path, lib.err = build(compiler, missing)
		if built.libraries == nil {
			built.libraries = map[string]library{}
		}
		built.libraries[key] = lib
	}
	if lib.err != nil {
		tb.Fatal(lib.err)
	}
	return lib.path
}

// compilerPath returns the C compiler, or ends the test if there is none.
func compilerPath(tb testing.TB) string {
	tb.Helper()
	name := os.Getenv("CC")
	if name == "" {
		name = "cc"
	}
	path, err := exec.LookPath(name)
	if err != nil {
		Unavailable(tb, "no C compiler to build the fake NVML with: "+err.Error())
	}
	return path
}

func build(compiler string, missing []string) (string, error) {
	folder, err := cacheFolder(compiler, missing)
	if err != nil {
		return "", fmt.Errorf("cannot make a folder for the fake NVML: %w", err)
	}
	path := filepath.Join(folder, "libnvidia-ml.so.1")
	if _, err := os.Stat(path); err == nil {
		return path, nil
	}
	work, err := os.MkdirTemp(folder, "build-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(work)
	out, err := compile(compiler, work, missing)
	if err != nil {
		return "", err
	}
	// Renamed into place because tests of other packages may build the same library right now.
	return path, os.Rename(out, path)
}

func compile(compiler, work string, missing []string) (string, error) {
	if err := writeSources(work); err != nil {
		return "", err
	}
	// dlsym does not find names that the linker script makes local.
	script := "{ local: gpulaunch_none;"
	for _, name := range missing {
		script += " " + name + ";"
	}
	mapFile := filepath.Join(work, "hide.map")
	if err := os.WriteFile(mapFile, []byte(script+" };\n"), 0o600); err != nil {
		return "", err
	}
	files, err := filepath.Glob(filepath.Join(work, "*.c"))
	if err != nil {
		return "", err
	}
	args := append(slices.Clone(compilerFlags),
		"-Wl,-soname,libnvidia-ml.so.1", "-Wl,--version-script=hide.map", "-o", "fake.so")
	args = append(append(args, files...), "-ldl", "-lpthread")
	cmd := exec.Command(compiler, args...)
	cmd.Dir = work
	if text, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("cannot build the fake NVML: %s: %w\n%s", compiler, err, text)
	}
	return filepath.Join(work, "fake.so"), nil
}

func writeSources(folder string) error {
	return eachSource(func(name string, data []byte) error {
		return os.WriteFile(filepath.Join(folder, name), data, 0o600)
	})
}

func eachSource(do func(name string, data []byte) error) error {
	return fs.WalkDir(sources, "testdata", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		data, err := sources.ReadFile(path)
		if err != nil {
			return err
		}
		return do(entry.Name(), data)
	})
}

// cacheFolder returns the folder for a library. Its name depends on everything that goes into the
// library.
func cacheFolder(compiler string, missing []string) (string, error) {
	hash := sha256.New()
	fmt.Fprintln(hash, runtime.GOARCH, compiler, compilerFlags, missing)
	err := eachSource(func(name string, data []byte) error {
		_, err := fmt.Fprintf(hash, "%s %d\n%s", name, len(data), data)
		return err
	})
	if err != nil {
		return "", err
	}
	folder := filepath.Join(cacheRoot(), fmt.Sprintf("%x", hash.Sum(nil)[:12]))
	return folder, os.MkdirAll(folder, 0o700)
}

// cacheRoot returns a folder that belongs to the user alone. The library is loaded as code, so its
// folder must not be one in /tmp whose name others can predict.
var cacheRoot = sync.OnceValue(func() string {
	if cache, err := os.UserCacheDir(); err == nil {
		root := filepath.Join(cache, "gpulaunch-nvmltest")
		if os.MkdirAll(root, 0o700) == nil {
			return root
		}
	}
	root, err := os.MkdirTemp("", "gpulaunch-nvmltest-")
	if err != nil {
		return os.TempDir()
	}
	return root
})
