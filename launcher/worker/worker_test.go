package worker

import (
	"fmt"
	"math"
	"os/exec"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/gpulaunch/gpulaunch/gpu/nvml/nvmltest"
)

const hint = ": start this program with gpulaunch run"

// mistakes maps a changed variable to the error that FromEnvironment must return.
var mistakes = map[string]string{
	"RANK=":             "RANK is not set" + hint,
	"WORLD_SIZE=":       "WORLD_SIZE is not set" + hint,
	"LOCAL_WORLD_SIZE=": "LOCAL_WORLD_SIZE is not set" + hint,
	"MASTER_ADDR=":      "MASTER_ADDR is not set" + hint,
	"MASTER_PORT=":      "MASTER_PORT is not set" + hint,

	"RANK=x\n":                notFrom("RANK", "x\n", 0, math.MaxInt32),
	"GPULAUNCH_LOCAL_RANK=-1": notFrom("GPULAUNCH_LOCAL_RANK", "-1", 0, math.MaxInt32),
	"MASTER_PORT=65536":       notFrom("MASTER_PORT", "65536", 1, 65535),
	"MASTER_PORT=0":           notFrom("MASTER_PORT", "0", 1, 65535),
	"WORLD_SIZE=0":            notFrom("WORLD_SIZE", "0", 1, math.MaxInt32),
	"TORCHELASTIC_RESTART_COUNT=two": notFrom(
		"TORCHELASTIC_RESTART_COUNT", "two", 0, math.MaxInt32),

	"RANK=8": "RANK is 8, but it must be less than WORLD_SIZE, which is 8" + hint,
	"GPULAUNCH_LOCAL_RANK=4": "GPULAUNCH_LOCAL_RANK is 4, " +
		"but it must be less than LOCAL_WORLD_SIZE, which is 4" + hint,
}

func notFrom(name, value string, low, high int) string {
	return fmt.Sprintf("%s is %q, not a whole number from %d to %d"+hint, name, value, low, high)
}

// set sets the variables of a worker with a GPU until the test ends, and then applies changes.
func set(t *testing.T, changes ...string) {
	t.Helper()
	for _, entry := range append([]string{
		"RANK=5", "WORLD_SIZE=8", "LOCAL_RANK=0", "LOCAL_WORLD_SIZE=4", "GPULAUNCH_LOCAL_RANK=1",
		"MASTER_ADDR=10.0.0.1", "MASTER_PORT=29500",
		"TORCHELASTIC_RESTART_COUNT=2", "TORCHELASTIC_RUN_ID=job",
		"CUDA_VISIBLE_DEVICES=GPU-1", "GPULAUNCH_GPU_UUID=GPU-1", "GPULAUNCH_GPU_PCI=0000:3B:00.0",
	}, changes...) {
		name, value, _ := strings.Cut(entry, "=")
		t.Setenv(name, value)
	}
}

func TestFromEnvironment(t *testing.T) {
	set(t)
	got, err := FromEnvironment()
	want := Info{
		Rank: 5, WorldSize: 8, LocalRank: 1, LocalWorldSize: 4,
		MasterAddr: "10.0.0.1", MasterPort: 29500, Restart: 2, RunID: "job",
		Device: "GPU-1", DeviceUUID: "GPU-1", DevicePCI: "0000:3B:00.0",
	}
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("with all variables: %v, -want +got\n%s", err, diff)
	}

	// Only what every version of torchrun sets.
	set(t, "RANK=1", "WORLD_SIZE=2", "LOCAL_WORLD_SIZE=2", "GPULAUNCH_LOCAL_RANK=",
		"MASTER_ADDR=127.0.0.1", "TORCHELASTIC_RESTART_COUNT=", "TORCHELASTIC_RUN_ID=",
		"CUDA_VISIBLE_DEVICES=", "GPULAUNCH_GPU_UUID=", "GPULAUNCH_GPU_PCI=")
	got, err = FromEnvironment()
	want = Info{
		Rank: 1, WorldSize: 2, LocalWorldSize: 2, MasterAddr: "127.0.0.1", MasterPort: 29500,
	}
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("with torchrun's variables: %v, -want +got\n%s", err, diff)
	}
}

func TestFromEnvironmentMistakes(t *testing.T) {
	check := func(t *testing.T, want string) {
		got, err := FromEnvironment()
		if got != (Info{}) || err == nil || err.Error() != want {
			t.Errorf("FromEnvironment returns %+v, %v, want the error %q", got, err, want)
		}
	}
	for change, want := range mistakes {
		t.Run(change, func(t *testing.T) {
			set(t, change)
			check(t, want)
		})
	}
	t.Run("no local rank", func(t *testing.T) {
		set(t, "LOCAL_RANK=", "GPULAUNCH_LOCAL_RANK=")
		check(t, "LOCAL_RANK is not set"+hint)
	})
}

func TestMaster(t *testing.T) {
	for host, want := range map[string]string{
		"10.0.0.1": "10.0.0.1:29500", "node-1": "node-1:29500", "::1": "[::1]:29500",
		"[::1]": "[::1]:29500", "fe80::1%eth0": "[fe80::1%eth0]:29500",
	} {
		if got := (Info{MasterAddr: host, MasterPort: 29500}).Master(); got != want {
			t.Errorf("Master is %s for the address %s, want %s", got, host, want)
		}
	}
}

// TestDependencies wants workers not to link the launcher or what it needs.
func TestDependencies(t *testing.T) {
	if _, err := exec.LookPath("go"); err != nil {
		nvmltest.Unavailable(t, "the go command is not in PATH: install Go")
	}
	const format = "{{if not .Standard}}{{.ImportPath}}{{end}}"
	out, err := exec.Command("go", "list", "-deps", "-f", format, ".").Output()
	if err != nil {
		t.Fatal(err)
	}
	const module = "github.com/gpulaunch/gpulaunch/launcher/"
	own := 0
	for _, path := range strings.Fields(string(out)) {
		switch {
		case path == module+"worker", path == module+"internal/errorfile":
			own++
		case path == "golang.org/x/sys/unix": // for errorfile
		default:
			t.Errorf("a worker links %s", path)
		}
	}
	if own != 2 {
		t.Errorf("go list does not list worker and errorfile:\n%s", out)
	}
}
