//go:build linux && !nonvml

package nvml

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/gpulaunch/gpulaunch/gpu/nvml/nvmltest"
)

func TestOpenExplicitPath(t *testing.T) {
	path := nvmltest.Install(t, nvmltest.EightGPUs(node0, node1))
	if lib := open1(t, path); lib.Path() != resolved(path) {
		t.Errorf("Path = %s, want %s", lib.Path(), path)
	}
	t.Chdir(filepath.Dir(path))
	if lib := open1(t, filepath.Base(path)); lib.Path() != resolved(path) {
		t.Errorf("relative: Path = %s, want %s", lib.Path(), path)
	}
	if err := os.Symlink(path, "link.so"); err != nil {
		t.Fatal(err)
	}
	if lib := open1(t, "link.so"); lib.Path() != resolved(path) {
		t.Errorf("link: Path = %s, want %s", lib.Path(), path)
	}
}

// An explicit path is not a suggestion.
func TestOpenExplicitPathOnly(t *testing.T) {
	folder := t.TempDir()
	text := filepath.Join(folder, "text.so")
	if err := os.WriteFile(text, []byte("not\na library"), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{filepath.Join(folder, "missing.so"), text, folder} {
		_, err := Open(path)
		if !errors.Is(err, ErrLibraryNotFound) || !strings.Contains(err.Error(), path) || strings.Contains(err.Error(), "\n") {
			t.Errorf("Open(%s): %v", path, err)
		}
		if strings.Contains(err.Error(), "/usr/") {
			t.Errorf("Open(%s) tried more: %v", path, err)
		}
	}
}

func TestSearchTakesTheFirstUsable(t *testing.T) {
	folder := t.TempDir()
	broken := filepath.Join(folder, "broken.so")
	if err := os.WriteFile(broken, []byte("x"), 0o700); err != nil {
		t.Fatal(err)
	}
	good := nvmltest.Install(t, nvmltest.EightGPUs(node0, node1))
	other := nvmltest.Install(t, nvmltest.EightGPUs(node0, node1))
	lib, err := openFirst([]string{filepath.Join(folder, "missing.so"), broken, good, other})
	if err != nil || lib.Path() != resolved(good) {
		t.Fatalf("%v", err)
	}
	_, err = openFirst([]string{"libnvidia-ml-of-nobody.so.1", broken, filepath.Join(folder, "missing.so")})
	for _, part := range []string{"libnvidia-ml-of-nobody.so.1", "broken.so", "no such file: " + folder} {
		if err == nil || !strings.Contains(err.Error(), part) {
			t.Errorf("error does not tell %q: %v", part, err)
		}
	}
}

// stubs installs a working library in a folder called stubs, which a search could well find and must not use.
func stubs(t *testing.T) string {
	t.Helper()
	folder := filepath.Join(t.TempDir(), "stubs")
	if err := os.Mkdir(folder, 0o700); err != nil {
		t.Fatal(err)
	}
	return nvmltest.InstallIn(t, folder, nvmltest.EightGPUs(node0, node1))
}

func TestStubsAreNeverUsed(t *testing.T) {
	stub := stubs(t)
	link := filepath.Join(t.TempDir(), "libnvidia-ml.so.1")
	if err := os.Symlink(stub, link); err != nil {
		t.Fatal(err)
	}
	folderLink := filepath.Join(t.TempDir(), "lib64")
	if err := os.Symlink(filepath.Dir(stub), folderLink); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{stub, link, filepath.Join(folderLink, "libnvidia-ml.so.1")} {
		if lib, err := Open(path); !errors.Is(err, ErrLibraryNotFound) || !strings.Contains(err.Error(), "stub") {
			t.Errorf("Open(%s) = %v, %v", path, lib, err)
		}
	}
	good := nvmltest.Install(t, nvmltest.EightGPUs(node0, node1))
	if lib, err := openFirst([]string{stub, link, good}); err != nil || lib.Path() != resolved(good) {
		t.Errorf("search with stubs: %v", err)
	}
}

func init() {
	children["search"] = func(next string) {
		lib, err := openFirst([]string{libraryName, next})
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println(lib.Path())
	}
}

// The loader reads LD_LIBRARY_PATH when a process starts, so its own search is tried in children.
func TestLoaderSearch(t *testing.T) {
	good := nvmltest.Install(t, nvmltest.EightGPUs(node0, node1))
	found := nvmltest.Install(t, nvmltest.EightGPUs(node0, node1))
	stub := stubs(t)
	hidden := t.TempDir()
	if err := os.Symlink(stub, filepath.Join(hidden, libraryName)); err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct{ folder, want string }{
		"loader's find":  {filepath.Dir(found), found},
		"stub":           {filepath.Dir(stub), good},
		"link to a stub": {hidden, good},
	} {
		out, err := child(t, "search", good, "LD_LIBRARY_PATH="+test.folder).CombinedOutput()
		if got := strings.TrimSpace(string(out)); err != nil || got != resolved(test.want) {
			t.Errorf("%s: %s, %v; want %s", name, got, err, test.want)
		}
	}
}

func TestCandidates(t *testing.T) {
	all := strings.Join(Candidates(), " ")
	if first := Candidates()[0]; first != "libnvidia-ml.so.1" {
		t.Errorf("first: %s", first)
	}
	for _, folder := range []string{"/usr/lib64/", "/usr/local/nvidia/lib64/", "/usr/lib/wsl/lib/", "/run/opengl-driver/lib/"} {
		if !strings.Contains(all, " "+folder+"libnvidia-ml.so.1") {
			t.Errorf("%s is not searched", folder)
		}
	}
	triplet := map[string]string{"amd64": "x86_64-linux-gnu", "arm64": "aarch64-linux-gnu"}[runtime.GOARCH]
	if !strings.Contains(all, " /usr/lib/"+triplet+"/libnvidia-ml.so.1") {
		t.Errorf("Debian's folder is not searched: %s", all)
	}
	for _, c := range Candidates() {
		if !strings.HasSuffix(c, ".so.1") || strings.Contains(c, "stubs") {
			t.Errorf("%s", c)
		}
	}
}
