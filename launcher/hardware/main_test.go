//go:build linux

package hardware

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	// What is tested is a binary; named here, a change to it makes go test run these
	// tests again rather than repeat what they said.
	_ "github.com/gpulaunch/gpulaunch/launcher/keeper"
	"github.com/gpulaunch/gpulaunch/launcher/launchertest"
	_ "github.com/gpulaunch/gpulaunch/metrics"
)

// TestMain takes the binary that GPULAUNCH_BINARY names, or builds it. Under the
// name nvidia-smi this program is the made-up one of the dry run.
func TestMain(m *testing.M) {
	if filepath.Base(os.Args[0]) == smiName {
		os.Exit(fakeSMI(os.Args[1:]))
	}
	launchertest.RunIfWorker()
	binary := os.Getenv("GPULAUNCH_BINARY")
	if binary == "" {
		os.Exit(launchertest.Main(m))
	}
	path, err := filepath.Abs(binary)
	if err == nil {
		_, err = os.Stat(path)
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "GPULAUNCH_BINARY=%s is no good: %v\n", binary, err)
		os.Exit(1)
	}
	launchertest.Binary = path
	os.Exit(m.Run())
}
