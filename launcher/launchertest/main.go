//go:build linux

// Package launchertest runs real jobs through the real gpulaunch binary, for
// tests. The workers of such a job are the test binary itself, run again.
package launchertest

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"
)

const (
	workerArg = "gpulaunch-test-worker"
	// Patience bounds every wait. It is for a loaded machine, not a measure.
	Patience = 60 * time.Second
)

// Binary is the gpulaunch under test, once Main has built it.
var Binary string

// RunIfWorker does a worker's work, and ends the process, if this is one.
func RunIfWorker() {
	if len(os.Args) > 2 && os.Args[1] == workerArg {
		os.Exit(workerMain(os.Args[2:]))
	}
}

// Main is what TestMain calls: it is a worker, or builds the binary, runs the
// tests and gives the exit code. With GPULAUNCH_TEST_RACE set the binary has the
// race detector.
func Main(m *testing.M) int {
	RunIfWorker()
	dir, err := os.MkdirTemp("", "gpulaunch-test-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	Binary = filepath.Join(dir, "gpulaunch")
	build := exec.Command("go", "build", "-o", Binary, "github.com/gpulaunch/gpulaunch/cmd/gpulaunch")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if os.Getenv("GPULAUNCH_TEST_RACE") != "" {
		build.Args = slices.Insert(build.Args, 2, "-race")
		build.Env = append(os.Environ(), "CGO_ENABLED=1")
	}
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "go build: %v\n%s", err, out)
		return 1
	}
	return m.Run()
}
