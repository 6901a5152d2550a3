//go:build linux && !nonvml

package nvml

import (
	"fmt"
	"os"
	"os/exec"
	"testing"

	"github.com/gpulaunch/gpulaunch/gpu/nvml/nvmltest"
)

// childVariable is the variable that makes the test binary do the job of a child instead of
// running tests. Children do what a process can do only once, or does not survive.
const childVariable = "NVML_TEST_CHILD"

// children are the jobs, by name. Each is called with the path of a library.
var children = map[string]func(libPath string){}

func TestMain(m *testing.M) {
	if job := os.Getenv(childVariable); job != "" {
		children[job](os.Args[1])
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// childCommand returns the command for a child that does a job.
func childCommand(t *testing.T, job, libPath string, env ...string) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), self, libPath)
	cmd.Env = append(append(os.Environ(), childVariable+"="+job), env...)
	return cmd
}

// must returns the value, or ends the child with the error. It is for children, not for tests.
func must[T any](value T, err error) T {
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	return value
}

// The CPUs of the two NUMA nodes of eightGPUs.
var (
	node0 = []uint64{0x0f}
	node1 = []uint64{0xf0}
)

// eightGPUs returns the machine from which the tests make others.
func eightGPUs() nvmltest.Machine { return nvmltest.EightGPUs(node0, node1) }

// start installs a machine, opens its library and initializes it.
func start(tb testing.TB, m nvmltest.Machine) *Library {
	tb.Helper()
	return startLibrary(tb, nvmltest.Install(tb, m))
}

// startLibrary opens a library and initializes it.
func startLibrary(tb testing.TB, path string) *Library {
	tb.Helper()
	lib := openLibrary(tb, path)
	if err := lib.Init(); err != nil {
		tb.Fatal(err)
	}
	return lib
}

func openLibrary(tb testing.TB, path string) *Library {
	tb.Helper()
	lib, err := Open(path)
	if err != nil {
		tb.Fatal(err)
	}
	return lib
}

// device returns the GPU with an index.
func device(tb testing.TB, lib *Library, i int) Device {
	tb.Helper()
	d, err := lib.Device(i)
	if err != nil {
		tb.Fatal(err)
	}
	return d
}
