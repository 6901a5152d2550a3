// Package affinitytest gives tests the captured machines: the sys trees of machines that nobody
// here owns, in ../shared/topologies beside the repository.
//
//	func TestMain(m *testing.M) { os.Exit(affinitytest.Main(m)) }
//
//	func TestEveryMachine(t *testing.T) {
//		for name := range affinitytest.Captures(t) {
//			topology, err := affinity.ReadTopology(affinitytest.Root(t, name))
//			…
//
// The package does not import affinity, so affinity's own tests can use it. It trusts the
// archives; package capture is for others.
package affinitytest

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// Captures returns the archive of each captured machine, by the machine's name. It skips the test
// when there are none.
func Captures(tb testing.TB) map[string]string {
	tb.Helper()
	dir, err := topologiesDir()
	if err != nil {
		tb.Fatal(err)
	}
	archives := map[string]string{}
	for _, suffix := range []string{".tar.gz", ".tar.bz2"} {
		files, err := filepath.Glob(filepath.Join(dir, "*"+suffix))
		if err != nil {
			tb.Fatal(err)
		}
		for _, file := range files {
			archives[strings.TrimSuffix(filepath.Base(file), suffix)] = file
		}
	}
	if len(archives) == 0 {
		tb.Skipf("no captured machines (*.tar.gz, *.tar.bz2) in %s", dir)
	}
	return archives
}

// Root returns the root folder of a captured machine: the one that holds its sys tree. It skips the
// test when there is no such capture. Tests of one package share the folder and must not write to
// it.
func Root(tb testing.TB, name string) string {
	tb.Helper()
	archive, ok := Captures(tb)[name]
	if !ok {
		tb.Skipf("no captured machine %s", name)
	}
	root, err := unpackOnce(name, archive)
	if err != nil {
		tb.Fatal(err)
	}
	return root
}

// Main runs the tests and removes what Root has unpacked. It returns the exit code for TestMain.
// Temporary files go to memory where that is possible, because a captured machine has thousands.
func Main(m *testing.M) int {
	if info, err := os.Stat("/dev/shm"); err == nil && info.IsDir() && os.Getenv("TMPDIR") == "" {
		os.Setenv("TMPDIR", "/dev/shm")
	}
	defer func() { os.RemoveAll(unpacked.dir) }()
	return m.Run()
}

// unpacked holds the root folders of the captures that are unpacked, by name.
var unpacked = struct {
	sync.Mutex
	dir   string
	roots map[string]string
}{roots: map[string]string{}}

func unpackOnce(name, archive string) (root string, err error) {
	unpacked.Lock()
	defer unpacked.Unlock()
	if root, ok := unpacked.roots[name]; ok {
		return root, nil
	}
	if unpacked.dir == "" {
		if unpacked.dir, err = os.MkdirTemp("", "gpulaunch-captures"); err != nil {
			return "", err
		}
	}
	dir := filepath.Join(unpacked.dir, name)
	if err := os.Mkdir(dir, 0o755); err != nil {
		return "", err
	}
	if err := unpack(archive, dir); err != nil {
		return "", fmt.Errorf("%s: %w", archive, err)
	}
	root, err = findSys(dir)
	unpacked.roots[name] = root
	return root, err
}

// findSys returns the folder that holds the sys tree: dir, or one up to two levels below.
func findSys(dir string) (string, error) {
	for _, pattern := range []string{"sys", "*/sys", "*/*/sys"} {
		matches, err := filepath.Glob(filepath.Join(dir, pattern))
		if err != nil {
			return "", err
		}
		if len(matches) > 0 {
			return filepath.Dir(matches[0]), nil
		}
	}
	return "", fmt.Errorf("no sys folder in %s", dir)
}

// topologiesDir returns the folder of captured machines beside the module that is tested.
func topologiesDir() (string, error) {
	start, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for dir := start; ; dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return filepath.Join(filepath.Dir(dir), "shared", "topologies"), nil
		}
		if dir == filepath.Dir(dir) {
			return "", fmt.Errorf("no go.mod in %s or above it", start)
		}
	}
}
