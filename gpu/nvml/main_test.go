//go:build linux && !nonvml

package nvml

import (
	"os"
	"os/exec"
	"testing"

	"github.com/gpulaunch/gpulaunch/gpu/nvml/nvmltest"
)

// childVariable makes the test binary do one of the children's jobs instead of running tests: for what a process can
// try only once, or does not survive.
const childVariable = "NVML_TEST_CHILD"

var children = map[string]func(libPath string){}

func TestMain(m *testing.M) {
	if job := os.Getenv(childVariable); job != "" {
		children[job](os.Args[1])
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// child is a command that runs one of the children's jobs.
func child(t *testing.T, job, libPath string, env ...string) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), self, libPath)
	cmd.Env = append(append(os.Environ(), childVariable+"="+job), env...)
	return cmd
}

var (
	node0 = []uint64{0x0f}
	node1 = []uint64{0xf0}
)

// start installs a machine, opens its library and initializes it.
func start(tb testing.TB, m nvmltest.Machine) *Library {
	tb.Helper()
	lib := open1(tb, nvmltest.Install(tb, m))
	if err := lib.Init(); err != nil {
		tb.Fatal(err)
	}
	return lib
}

func open1(tb testing.TB, path string) *Library {
	tb.Helper()
	lib, err := Open(path)
	if err != nil {
		tb.Fatal(err)
	}
	return lib
}

func device(tb testing.TB, lib *Library, i int) Device {
	tb.Helper()
	d, err := lib.Device(i)
	if err != nil {
		tb.Fatal(err)
	}
	return d
}
