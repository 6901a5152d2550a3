//go:build linux

package hardware

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	// The tests run a binary that contains these packages. Because they are imported here, go test
	// does not use cached results after they have changed.
	_ "github.com/gpulaunch/gpulaunch/launcher/keeper"
	"github.com/gpulaunch/gpulaunch/launcher/launchertest"
	_ "github.com/gpulaunch/gpulaunch/metrics"
)

// TestMain uses the binary that GPULAUNCH_BINARY names, or builds one. If this program was started
// under the name nvidia-smi, it is the fake nvidia-smi of the dry run.
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
		fmt.Fprintf(os.Stderr, "cannot use GPULAUNCH_BINARY=%s: %v\n", binary, err)
		os.Exit(1)
	}
	launchertest.Binary = path
	os.Exit(m.Run())
}
