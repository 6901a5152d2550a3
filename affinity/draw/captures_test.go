package draw

import (
	"archive/tar"
	"compress/bzip2"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/gpulaunch/gpulaunch/affinity"
)

const capturesDir = "../../../shared/topologies"

// captures returns the captured machines, by name, and skips the test when there are none.
func captures(t *testing.T) map[string]*affinity.Topology {
	t.Helper()
	machines, err := readCaptures()
	if err != nil {
		t.Fatal(err)
	}
	if len(machines) == 0 {
		t.Skipf("no captured machines (*.tar.*) in %s", capturesDir)
	}
	return machines
}

// readCaptures reads them once: the archives have thousands of files.
var readCaptures = sync.OnceValues(func() (map[string]*affinity.Topology, error) {
	files, err := filepath.Glob(filepath.Join(capturesDir, "*.tar.*"))
	if err != nil {
		return nil, err
	}
	machines := map[string]*affinity.Topology{}
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), filepath.Ext(file))
		if machines[name], err = readCapture(file); err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
	}
	return machines, nil
})

func readCapture(file string) (*affinity.Topology, error) {
	dir, err := os.MkdirTemp("", "capture")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	if err := unpack(file, dir); err != nil {
		return nil, err
	}
	for _, pattern := range []string{"sys", "*/sys", "*/*/sys"} {
		if matches, _ := filepath.Glob(filepath.Join(dir, pattern)); len(matches) > 0 {
			return affinity.ReadTopology(filepath.Dir(matches[0]))
		}
	}
	return nil, errors.New("no sys folder")
}

// unpack writes an archive's files below dir, without those that no topology needs, which are most.
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

var wanted = regexp.MustCompile(`/sys/(fs/cgroup|devices/system/(node|cpu/(online|cpu\d+/(online|topology|cache/index\d+/(level|type|shared)))))`)

func unpackEntry(root *os.Root, made map[string]bool, header *tar.Header, content io.Reader) error {
	name := filepath.Clean(header.Name)
	if strings.Contains(name, "/sys/") && !wanted.MatchString(name) {
		return nil
	}
	if header.Typeflag != tar.TypeReg && header.Typeflag != tar.TypeSymlink {
		return nil
	}
	if dir := filepath.Dir(name); !made[dir] {
		if err := root.MkdirAll(dir, 0o755); err != nil {
			return err
		}
		made[dir] = true
	}
	if header.Typeflag == tar.TypeSymlink {
		if err := root.Symlink(header.Linkname, name); !errors.Is(err, fs.ErrExist) {
			return err
		}
		return nil
	}
	data, err := io.ReadAll(io.LimitReader(content, 1<<20))
	if err != nil {
		return err
	}
	return root.WriteFile(name, data, 0o644)
}
