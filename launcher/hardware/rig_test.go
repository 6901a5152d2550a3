//go:build linux

package hardware

import (
	"context"
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
	"github.com/gpulaunch/gpulaunch/launcher/launchertest"
	"github.com/gpulaunch/gpulaunch/launcher/plan"
)

// rig is what the suite runs on: this machine's GPUs, or made-up ones.
type rig struct {
	smi      string   // the path of nvidia-smi
	library  string   // of NVML; "" looks for it
	env      []string // for gpulaunch, besides that of the tests
	python   string   // "" if there is none
	patience time.Duration
	// holds tells made-up GPUs which workers hold memory; real ones know.
	holds func([]report)
}

// errSkipped is in the error of a point that cannot be tested here.
var errSkipped = errors.New("not here")

func skipped(format string, args ...any) error {
	return fmt.Errorf("%w: %s", errSkipped, fmt.Sprintf(format, args...))
}

// onThisMachine is the rig for real GPUs. The test skips without any: this lack
// is not one that an installation could mend.
func onThisMachine(t *testing.T) rig {
	t.Helper()
	if _, err := os.Stat("/dev/nvidiactl"); err != nil {
		t.Skip("there is no GPU here: /dev/nvidiactl is missing")
	}
	smi, err := exec.LookPath(smiName)
	if err != nil {
		t.Skip("there is nothing to compare with: nvidia-smi is not in PATH")
	}
	return rig{smi: smi, python: findPython("import sys"), patience: launchertest.Patience}
}

// findPython gives the path of an interpreter that can do something, or "".
func findPython(code string) string {
	for _, name := range []string{os.Getenv("PYTHON_EXEC"), "python3", "python", "/usr/bin/python3", "/opt/conda/bin/python"} {
		if name == "" {
			continue
		}
		if path, err := exec.LookPath(name); err == nil && runs(path, "-c", code) {
			return path
		}
	}
	return ""
}

// runs reports whether a command ends well. Importing PyTorch for the first time
// may take a minute.
func runs(program string, args ...string) bool {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	return exec.CommandContext(ctx, program, args...).Run() == nil
}

// args puts a subcommand's own flags behind it.
func (r rig) args(subcommand string, args ...string) []string {
	list := []string{subcommand}
	if r.library != "" {
		list = append(list, "--nvml-library="+r.library)
	}
	return append(list, args...)
}

// inventory is what gpulaunch devices says.
func (r rig) inventory(t *testing.T) (inv gpu.Inventory, err error) {
	t.Helper()
	return inv, r.ask(t, &inv, launchertest.Binary, r.args("devices", "--json")...)
}

// plan is what gpulaunch plan says.
func (r rig) plan(t *testing.T, args ...string) (p plan.Plan, err error) {
	t.Helper()
	return p, r.ask(t, &p, launchertest.Binary, r.args("plan", append([]string{"--json"}, args...)...)...)
}

// ask runs a command to its end and reads the JSON that it prints.
func (r rig) ask(t *testing.T, into any, program string, args ...string) error {
	t.Helper()
	j := launchertest.StartCommand(t, nil, r.env, append([]string{program}, args...)...)
	code, stderr := j.Exit()
	stdout, _ := j.Output()
	if code != 0 {
		return fmt.Errorf("%q ends with %d: %s", args, code, stderr)
	}
	if err := json.Unmarshal([]byte(stdout), into); err != nil {
		return fmt.Errorf("%q: %w in %s", args, err, stdout)
	}
	return nil
}

// run starts a job with the metrics on, and gives their address.
func (r rig) run(t *testing.T, args ...string) (j *launchertest.Job, url string) {
	t.Helper()
	j = launchertest.Start(t, r.jobEnv(), r.args("run", append([]string{"--metrics-address=127.0.0.1:0"}, args...)...)...)
	return j, regexp.MustCompile(`http://\S+`).FindString(j.AwaitStderr("metrics are on "))
}

// jobEnv has the interpreter for workers.
func (r rig) jobEnv() []string {
	return append(slices.Clone(r.env), "PYTHON_EXEC="+r.python)
}

// figures reads the metrics once; they are empty before the first sample.
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

// until calls a check until it is content, for no longer than the rig's
// patience, and gives its last complaint. Figures of GPUs are those of the last
// five seconds, so that asking more often helps little.
func (r rig) until(check func() error) error {
	ticker := time.NewTicker(200 * time.Millisecond)
	defer ticker.Stop()
	for deadline := time.Now().Add(r.patience); ; <-ticker.C {
		err := check()
		if err == nil || time.Now().After(deadline) {
			return err
		}
	}
}

// stop ends a job by SIGTERM and wants the exit code of that.
func stop(j *launchertest.Job) error {
	j.Signal(unix.SIGTERM)
	if code, stderr := j.Exit(); code != 128+int(unix.SIGTERM) {
		return fmt.Errorf("exit code %d after SIGTERM: %s", code, stderr)
	}
	return nil
}

// script finds a file of testdata: this package's, or one that others use, too.
func script(t *testing.T, name string) string {
	t.Helper()
	for _, folder := range []string{"testdata", "../testdata"} {
		if path, err := filepath.Abs(filepath.Join(folder, name)); err == nil {
			if _, err := os.Stat(path); err == nil {
				return path
			}
		}
	}
	t.Fatalf("%s is not in testdata: run this from the folder that .ci/gpu has made", name)
	return ""
}
