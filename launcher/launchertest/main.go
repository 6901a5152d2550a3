//go:build linux

// Package launchertest helps tests to run real jobs with the real gpulaunch binary. The workers
// of such a job are the test binary itself, which is executed again.
package launchertest

import (
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

const (
	workerArg = "gpulaunch-test-worker"
	// Patience is the limit of every wait. It leaves room for a loaded machine, and says nothing
	// about how long anything should take.
	Patience = 60 * time.Second
)

// Binary is the path of the gpulaunch binary under test. [Main] sets it.
var Binary string

// RunIfWorker runs a worker's program and exits if this process was started as a worker.
// Otherwise it does nothing.
func RunIfWorker() {
	if len(os.Args) > 2 && os.Args[1] == workerArg {
		os.Exit(workerMain(os.Args[2:]))
	}
}

// Main is called by TestMain, which exits with its result. In a worker it runs the worker's
// program. Otherwise it builds [Binary] and runs the tests. If GPULAUNCH_TEST_RACE is set, the
// binary is built with the race detector.
func Main(m *testing.M) int {
	RunIfWorker()
	// If the tests run under nohup(1), the jobs that they start must not inherit that.
	signal.Notify(make(chan os.Signal, 1), unix.SIGHUP)
	dir, err := os.MkdirTemp("", "gpulaunch-test-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	Binary = filepath.Join(dir, "gpulaunch")
	var flags []string
	if os.Getenv("GPULAUNCH_TEST_RACE") != "" {
		flags = append(flags, "-race")
	}
	if err := Build(Binary, flags...); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return m.Run()
}

// Build builds gpulaunch with flags for go build, and writes it to path. It uses cgo only where
// it must, for the race detector.
func Build(path string, flags ...string) error {
	args := append([]string{"build", "-o", path}, flags...)
	build := exec.Command("go", append(args, "github.com/gpulaunch/gpulaunch/cmd/gpulaunch")...)
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if slices.Contains(flags, "-race") {
		build.Env = append(os.Environ(), "CGO_ENABLED=1")
	}
	if out, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("cannot build gpulaunch: %w\n%s", err, out)
	}
	return nil
}
