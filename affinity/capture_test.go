package affinity

import (
	"archive/tar"
	"compress/bzip2"
	"compress/gzip"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

const capturesDir = "../../shared/topologies"

// captureFiles returns the captured machines by name, and skips the test when there are none.
func captureFiles(t *testing.T) map[string]string {
	t.Helper()
	files := map[string]string{}
	for _, suffix := range []string{".tar.gz", ".tar.bz2"} {
		matches, err := filepath.Glob(filepath.Join(capturesDir, "*"+suffix))
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range matches {
			files[strings.TrimSuffix(filepath.Base(file), suffix)] = file
		}
	}
	if len(files) == 0 {
		t.Skipf("no captured machines (*.tar.gz, *.tar.bz2) in %s", capturesDir)
	}
	return files
}

// unpacked remembers what is unpacked: the archives have thousands of files.
var unpacked = struct {
	sync.Mutex
	dir   string // removed by TestMain
	roots map[string]string
}{roots: map[string]string{}}

// capture unpacks one captured machine and returns the folder that holds its sys. It skips the test when the capture is
// not there.
func capture(t *testing.T, name string) string {
	t.Helper()
	file, ok := captureFiles(t)[name]
	if !ok {
		t.Skipf("no capture %s in %s", name, capturesDir)
	}
	unpacked.Lock()
	defer unpacked.Unlock()
	if root, ok := unpacked.roots[name]; ok {
		return root
	}
	if unpacked.dir == "" {
		dir, err := os.MkdirTemp("", "captures")
		if err != nil {
			t.Fatal(err)
		}
		unpacked.dir = dir
	}
	dir := filepath.Join(unpacked.dir, name)
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := unpack(file, dir); err != nil {
		t.Fatal(err)
	}
	unpacked.roots[name] = sysParent(t, dir)
	return unpacked.roots[name]
}

func sysParent(t *testing.T, dir string) string {
	t.Helper()
	for _, pattern := range []string{"sys", "*/sys", "*/*/sys"} {
		matches, err := filepath.Glob(filepath.Join(dir, pattern))
		if err != nil {
			t.Fatal(err)
		}
		if len(matches) > 0 {
			return filepath.Dir(matches[0])
		}
	}
	t.Fatalf("no sys folder in %s", dir)
	return ""
}

// unpack writes the folders, files and symbolic links of an archive below dir. os.Root keeps every name inside.
func unpack(file, dir string) error {
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	var r io.Reader = bzip2.NewReader(f)
	if strings.HasSuffix(file, ".gz") {
		if r, err = gzip.NewReader(f); err != nil {
			return err
		}
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	archive := tar.NewReader(r)
	made := map[string]bool{}
	for {
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := unpackEntry(root, made, header, archive); err != nil {
			return err
		}
	}
}

func unpackEntry(root *os.Root, made map[string]bool, header *tar.Header, content io.Reader) error {
	name := filepath.Clean(header.Name)
	if header.Typeflag == tar.TypeReg && !wanted(name) {
		return nil
	}
	if dir := filepath.Dir(name); !made[dir] {
		if err := root.MkdirAll(dir, 0o755); err != nil {
			return err
		}
		made[dir] = true
	}
	switch header.Typeflag {
	case tar.TypeSymlink:
		if err := root.Symlink(header.Linkname, name); !errors.Is(err, fs.ErrExist) {
			return err
		}
	case tar.TypeReg:
		data, err := io.ReadAll(io.LimitReader(content, maxValueBytes))
		if err != nil {
			return err
		}
		return root.WriteFile(name, data, 0o644)
	}
	return nil
}

// wanted leaves out most files of devices, which are most of all files.
func wanted(name string) bool {
	if !strings.Contains(name, "sys/devices/") || strings.Contains(name, "sys/devices/system/") {
		return true
	}
	switch filepath.Base(name) {
	case "numa_node", "local_cpus", "local_cpulist":
		return true
	}
	return false
}
