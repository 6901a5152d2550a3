//go:build linux && !nonvml

package nvml

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/gpulaunch/gpulaunch/gpu/nvml/nvmltest"
)

// checkPath fails the test unless the library was loaded from the file at path.
func checkPath(t *testing.T, lib *Library, path string) {
	t.Helper()
	if got, want := lib.Path(), resolved(path); got != want {
		t.Errorf("the library is %s, want %s", got, want)
	}
}

func TestOpenExplicitPath(t *testing.T) {
	path := nvmltest.Install(t, eightGPUs())
	checkPath(t, openLibrary(t, path), path)
	t.Chdir(filepath.Dir(path))
	checkPath(t, openLibrary(t, filepath.Base(path)), path)
	symlink(t, path, "link.so")
	checkPath(t, openLibrary(t, "link.so"), path)
}

// TestOpenExplicitPathOnly checks that no other file is tried when there is an explicit path.
func TestOpenExplicitPathOnly(t *testing.T) {
	folder := t.TempDir()
	text := filepath.Join(folder, "text.so")
	if err := os.WriteFile(text, []byte("not\na library"), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{filepath.Join(folder, "missing.so"), text, folder} {
		_, err := Open(path)
		if !errors.Is(err, ErrLibraryNotFound) {
			t.Fatalf("Open(%s) gives %v, want ErrLibraryNotFound", path, err)
		}
		if !strings.Contains(err.Error(), path) {
			t.Errorf("the error %q does not name the path %s", err, path)
		}
		if strings.Contains(err.Error(), "\n") {
			t.Errorf("the error %q is not one line", err)
		}
		if strings.Contains(err.Error(), "/usr/") {
			t.Errorf("Open(%s) tried other files: %v", path, err)
		}
	}
}

func TestSearchTakesTheFirstUsable(t *testing.T) {
	folder := t.TempDir()
	missing, broken := filepath.Join(folder, "missing.so"), filepath.Join(folder, "broken.so")
	if err := os.WriteFile(broken, []byte("x"), 0o700); err != nil {
		t.Fatal(err)
	}
	usable, other := nvmltest.Install(t, eightGPUs()), nvmltest.Install(t, eightGPUs())
	lib, err := openFirst([]string{missing, broken, usable, other})
	if err != nil {
		t.Fatal(err)
	}
	checkPath(t, lib, usable)
	const unknown = "libnvidia-ml-of-nobody.so.1"
	_, err = openFirst([]string{unknown, broken, missing})
	if err == nil {
		t.Fatal("no library is usable, but one was opened")
	}
	for _, part := range []string{unknown, "broken.so", "no such file: " + folder} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("the error %q does not contain %q", err, part)
		}
	}
}

// installStub installs a working library in a folder called stubs. A search may find it, but must
// not use it.
func installStub(t *testing.T) string {
	t.Helper()
	folder := filepath.Join(t.TempDir(), "stubs")
	if err := os.Mkdir(folder, 0o700); err != nil {
		t.Fatal(err)
	}
	return nvmltest.InstallIn(t, folder, eightGPUs())
}

func symlink(t *testing.T, to, at string) {
	t.Helper()
	if err := os.Symlink(to, at); err != nil {
		t.Fatal(err)
	}
}

func TestStubsAreNeverUsed(t *testing.T) {
	stub := installStub(t)
	link := filepath.Join(t.TempDir(), libraryName)
	symlink(t, stub, link)
	folderLink := filepath.Join(t.TempDir(), "lib64")
	symlink(t, filepath.Dir(stub), folderLink)
	for _, path := range []string{stub, link, filepath.Join(folderLink, libraryName)} {
		_, err := Open(path)
		if !errors.Is(err, ErrLibraryNotFound) {
			t.Fatalf("Open(%s) gives %v, want ErrLibraryNotFound", path, err)
		}
		if !strings.Contains(err.Error(), "stub") {
			t.Errorf("the error %q does not say that %s is a stub", err, path)
		}
	}
	usable := nvmltest.Install(t, eightGPUs())
	lib, err := openFirst([]string{stub, link, usable})
	if err != nil {
		t.Fatal(err)
	}
	checkPath(t, lib, usable)
}

func init() {
	// This child lets the dynamic loader search, and says which library was opened.
	children["search"] = func(next string) {
		lib, err := openFirst([]string{libraryName, next})
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println(lib.Path())
	}
}

// TestLoaderSearch runs children, because the loader reads LD_LIBRARY_PATH when a process starts.
func TestLoaderSearch(t *testing.T) {
	next, found := nvmltest.Install(t, eightGPUs()), nvmltest.Install(t, eightGPUs())
	stub := installStub(t)
	linkFolder := t.TempDir()
	symlink(t, stub, filepath.Join(linkFolder, libraryName))
	for name, test := range map[string]struct{ folder, want string }{
		"library":        {filepath.Dir(found), found},
		"stub":           {filepath.Dir(stub), next},
		"link to a stub": {linkFolder, next},
	} {
		cmd := childCommand(t, "search", next, "LD_LIBRARY_PATH="+test.folder)
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if got, want := strings.TrimSpace(string(out)), resolved(test.want); got != want {
			t.Errorf("%s: opened %s, want %s", name, got, want)
		}
	}
}

func TestCandidates(t *testing.T) {
	list := candidates()
	if list[0] != "libnvidia-ml.so.1" {
		t.Errorf("the first candidate is %s, want the bare name", list[0])
	}
	triplet := map[string]string{
		"amd64": "x86_64-linux-gnu", "arm64": "aarch64-linux-gnu",
	}[runtime.GOARCH]
	for _, folder := range []string{
		"/usr/lib64/", "/usr/local/nvidia/lib64/", "/usr/lib/wsl/lib/",
		"/run/opengl-driver/lib/", "/usr/lib/" + triplet + "/",
	} {
		if !slices.Contains(list, folder+"libnvidia-ml.so.1") {
			t.Errorf("%s is not searched: %q", folder, list)
		}
	}
	for _, c := range list {
		if !strings.HasSuffix(c, ".so.1") || strings.Contains(c, "stubs") {
			t.Errorf("%s is a candidate", c)
		}
	}
}
