package capture

import (
	"archive/tar"
	"bytes"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/gpulaunch/gpulaunch/affinity"
	"github.com/gpulaunch/gpulaunch/affinity/affinitytest"
	"github.com/gpulaunch/gpulaunch/affinity/internal/rootfs"
)

func TestMain(m *testing.M) {
	code := affinitytest.Main(m)
	for _, machine := range opened {
		machine.Close()
	}
	os.Exit(code)
}

// opened has the captures that are open, by name.
var opened = map[string]*Machine{}

// openCapture opens one of the captured machines, once for all tests.
func openCapture(t *testing.T, name, file string) *Machine {
	t.Helper()
	if opened[name] == nil {
		machine, err := Open(file)
		if err != nil {
			t.Fatal(err)
		}
		opened[name] = machine
	}
	return opened[name]
}

func readTopology(t *testing.T, root string) *affinity.Topology {
	t.Helper()
	topology, err := affinity.ReadTopology(root)
	if err != nil {
		t.Fatal(err)
	}
	return topology
}

func write(t *testing.T, root string, inventory []byte) []byte {
	t.Helper()
	var archive bytes.Buffer
	if err := Write(&archive, root, inventory); err != nil {
		t.Fatal(err)
	}
	return archive.Bytes()
}

// openBytes opens an archive that is in memory. The test closes it.
func openBytes(t *testing.T, archive []byte) *Machine {
	t.Helper()
	machine, err := Open(saved(t, archive))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(machine.Close)
	return machine
}

func saved(t *testing.T, archive []byte) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "archive")
	if err := os.WriteFile(file, archive, 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// tree lists what is below a folder: for each path the content of a file, the target of a link, or
// "/" for a folder.
func tree(t testing.TB, dir string) map[string]string {
	t.Helper()
	files, err := rootfs.Open(dir, rootfs.Plain)
	if err != nil {
		t.Fatal(err)
	}
	defer files.Close()
	return treeOf(t, files)
}

func treeOf(t testing.TB, files *rootfs.FS) map[string]string {
	t.Helper()
	found := map[string]string{}
	err := fs.WalkDir(files, ".", func(name string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil || name == ".":
			return err
		case entry.IsDir():
			found[name] = "/"
		case entry.Type() == fs.ModeSymlink:
			target, err := files.ReadLink(name)
			found[name] = "→ " + target
			return err
		default:
			content, err := files.ReadRegular(name, 1<<30)
			found[name] = string(content)
			return err
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// tarOf returns an uncompressed tar archive. An entry without a type is a file whose content is its
// Linkname.
func tarOf(t testing.TB, headers ...tar.Header) []byte {
	t.Helper()
	var archive bytes.Buffer
	w := tar.NewWriter(&archive)
	for _, header := range headers {
		content := ""
		if header.Typeflag == 0 {
			header.Typeflag = tar.TypeReg
		}
		if header.Typeflag == tar.TypeReg {
			content, header.Linkname = header.Linkname, ""
			header.Size = int64(len(content))
		}
		if header.Mode == 0 && header.Typeflag != tar.TypeXGlobalHeader {
			header.Mode = 0o644
		}
		if err := w.WriteHeader(&header); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, content); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return archive.Bytes()
}
