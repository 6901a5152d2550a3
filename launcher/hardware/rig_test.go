//go:build linux

package hardware

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/gpulaunch/gpulaunch/gpu"
	"github.com/gpulaunch/gpulaunch/gpu/nvml/nvmltest"
	"github.com/gpulaunch/gpulaunch/launcher/launchertest"
	"github.com/gpulaunch/gpulaunch/launcher/plan"
)

// rig is what the suite runs with: this machine's GPUs or fake ones.
type rig struct {
	smi      string   // the path of nvidia-smi
	library  string   // the path of a fake NVML library, or "" for the real one
	env      []string // variables for gpulaunch in addition to the environment of the tests
	python   string   // an interpreter for workers, or ""
	patience time.Duration
	// showAllocated makes fake GPUs show the memory that workers hold. It is nil for real GPUs.
	showAllocated func([]report)
}

// errSkipped is part of the error of a requirement that cannot be checked on this machine.
var errSkipped = errors.New("skipped")

// errNoFigures is the error of a check that is too early.
var errNoFigures = errors.New("the metrics do not contain any GPUs yet")

func skipped(format string, args ...any) error {
	return fmt.Errorf("%w: %s", errSkipped, fmt.Sprintf(format, args...))
}

// onThisMachine returns the rig for real GPUs. The test is skipped if there are none, also where
// GPULAUNCH_TEST_REQUIRE is set: nobody can install a GPU.
func onThisMachine(t *testing.T) rig {
	t.Helper()
	if _, err := os.Stat("/dev/nvidiactl"); err != nil {
		nvmltest.NotOnThisMachine(t, "there is no GPU: /dev/nvidiactl is missing")
	}
	smi, err := exec.LookPath(smiName)
	if err != nil {
		nvmltest.Unavailable(t,
			"there is nothing to compare gpulaunch with: nvidia-smi is not in PATH")
	}
	python := launchertest.FindPython("import sys")
	return rig{smi: smi, python: python, patience: launchertest.Patience}
}

// args returns the arguments of a subcommand, with the flags that this rig needs.
func (r rig) args(subcommand string, args ...string) []string {
	list := []string{subcommand}
	if r.library != "" {
		list = append(list, "--nvml-library="+r.library)
	}
	return append(list, args...)
}

// inventory returns what gpulaunch devices says.
func (r rig) inventory(t *testing.T) (inv gpu.Inventory, err error) {
	t.Helper()
	return inv, r.ask(t, &inv, launchertest.Binary, r.args("devices", "--json")...)
}

// plan returns what gpulaunch plan says.
func (r rig) plan(t *testing.T, args ...string) (p plan.Plan, err error) {
	t.Helper()
	args = r.args("plan", append([]string{"--json"}, args...)...)
	return p, r.ask(t, &p, launchertest.Binary, args...)
}

// ask runs a command and decodes the JSON that it prints.
func (r rig) ask(t *testing.T, into any, program string, args ...string) error {
	t.Helper()
	j := launchertest.StartCommand(t, nil, r.env, append([]string{program}, args...)...)
	code, stderr := j.Exit()
	stdout, _ := j.Output()
	if code != 0 {
		return fmt.Errorf("%q exits with code %d: %s", args, code, stderr)
	}
	if err := json.Unmarshal([]byte(stdout), into); err != nil {
		return fmt.Errorf("%q does not print JSON: %w in %s", args, err, stdout)
	}
	return nil
}

// run starts a job with metrics, and returns their URL.
func (r rig) run(t *testing.T, args ...string) (j *launchertest.Job, url string) {
	t.Helper()
	args = r.args("run", append([]string{"--metrics-address=127.0.0.1:0"}, args...)...)
	j = launchertest.Start(t, r.jobEnv(), args...)
	return j, regexp.MustCompile(`http://\S+`).FindString(j.AwaitStderr("metrics are on "))
}

// jobEnv returns the variables of a job, with the interpreter for its workers.
func (r rig) jobEnv() []string {
	return append(slices.Clone(r.env), "PYTHON_EXEC="+r.python)
}

// figures reads the metrics once. They are empty before the first sample.
func (r rig) figures(url string) (figures, error) {
	client := http.Client{Timeout: 10 * time.Second}
	response, err := client.Get(url)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	return parseFigures(string(body)), err
}

// retry repeats a check until it returns nil or the rig's patience is over, and returns the last
// error. gpulaunch samples GPUs every five seconds, so checking more often would help little.
func (r rig) retry(check func() error) error {
	return launchertest.Retry(r.patience, 200*time.Millisecond, check)
}

// stop stops a job with SIGTERM, and wants the exit code for that.
func stop(j *launchertest.Job) error {
	j.Signal(unix.SIGTERM)
	if code, stderr := j.Exit(); code != 128+int(unix.SIGTERM) {
		return fmt.Errorf("the exit code after SIGTERM is %d, want 143: %s", code, stderr)
	}
	return nil
}

// script returns the path of a file in the testdata of this package or of launcher.
func script(t *testing.T, name string) string {
	t.Helper()
	for _, folder := range []string{"testdata", "../testdata"} {
		if path, err := filepath.Abs(filepath.Join(folder, name)); err == nil {
			if _, err := os.Stat(path); err == nil {
				return path
			}
		}
	}
	t.Fatalf("%s is not in testdata: run this test in the folder that .ci/gpu has made", name)
	return ""
}
