package worker

import (
	"os/exec"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/gpulaunch/gpulaunch/gpu/nvml/nvmltest"
)

func TestFromEnvironment(t *testing.T) {
	all := Info{
		Rank: 5, WorldSize: 8, LocalRank: 1, LocalWorldSize: 4, MasterAddr: "10.0.0.1", MasterPort: 29500,
		Restart: 2, RunID: "job", Device: "GPU-1", DeviceUUID: "GPU-1", DevicePCI: "0000:3B:00.0",
	}
	bare := Info{Rank: 1, WorldSize: 2, LocalWorldSize: 2, MasterAddr: "127.0.0.1", MasterPort: 29500}
	set := func(changes ...string) map[string]string {
		env := map[string]string{
			"RANK": "5", "WORLD_SIZE": "8", "LOCAL_RANK": "0", "LOCAL_WORLD_SIZE": "4", "GPULAUNCH_LOCAL_RANK": "1",
			"MASTER_ADDR": "10.0.0.1", "MASTER_PORT": "29500", "TORCHELASTIC_RESTART_COUNT": "2", "TORCHELASTIC_RUN_ID": "job",
			"CUDA_VISIBLE_DEVICES": "GPU-1", "GPULAUNCH_GPU_UUID": "GPU-1", "GPULAUNCH_GPU_PCI": "0000:3B:00.0",
		}
		for _, change := range changes {
			name, value, _ := strings.Cut(change, "=")
			env[name] = value
		}
		return env
	}
	const do = ": start this program with gpulaunch run"
	for name, c := range map[string]struct {
		env  map[string]string
		want Info
		err  string
	}{
		"gpulaunch, a GPU": {set(), all, ""},
		"torchrun, bare": {set("RANK=1", "WORLD_SIZE=2", "LOCAL_WORLD_SIZE=2", "GPULAUNCH_LOCAL_RANK=", "MASTER_ADDR=127.0.0.1",
			"TORCHELASTIC_RESTART_COUNT=", "TORCHELASTIC_RUN_ID=", "CUDA_VISIBLE_DEVICES=", "GPULAUNCH_GPU_UUID=", "GPULAUNCH_GPU_PCI="), bare, ""},
		"no RANK":              {set("RANK="), Info{}, "RANK is not set" + do},
		"no WORLD_SIZE":        {set("WORLD_SIZE="), Info{}, "WORLD_SIZE is not set" + do},
		"no local rank":        {set("LOCAL_RANK=", "GPULAUNCH_LOCAL_RANK="), Info{}, "LOCAL_RANK is not set" + do},
		"no LOCAL_WORLD_SIZE":  {set("LOCAL_WORLD_SIZE="), Info{}, "LOCAL_WORLD_SIZE is not set" + do},
		"no MASTER_ADDR":       {set("MASTER_ADDR="), Info{}, "MASTER_ADDR is not set" + do},
		"no MASTER_PORT":       {set("MASTER_PORT="), Info{}, "MASTER_PORT is not set" + do},
		"no number":            {set("RANK=x\n"), Info{}, `RANK is "x\n", not a whole number from 0 to 2147483647` + do},
		"negative":             {set("GPULAUNCH_LOCAL_RANK=-1"), Info{}, `GPULAUNCH_LOCAL_RANK is "-1", not a whole number from 0 to 2147483647` + do},
		"a port too high":      {set("MASTER_PORT=65536"), Info{}, `MASTER_PORT is "65536", not a whole number from 1 to 65535` + do},
		"port 0":               {set("MASTER_PORT=0"), Info{}, `MASTER_PORT is "0", not a whole number from 1 to 65535` + do},
		"no workers":           {set("WORLD_SIZE=0"), Info{}, `WORLD_SIZE is "0", not a whole number from 1 to 2147483647` + do},
		"restarts":             {set("TORCHELASTIC_RESTART_COUNT=two"), Info{}, `TORCHELASTIC_RESTART_COUNT is "two", not a whole number from 0 to 2147483647` + do},
		"a rank too high":      {set("RANK=8"), Info{}, "RANK is 8, which must be below WORLD_SIZE, but that is 8" + do},
		"a local one too high": {set("GPULAUNCH_LOCAL_RANK=4"), Info{}, "GPULAUNCH_LOCAL_RANK is 4, which must be below LOCAL_WORLD_SIZE, but that is 4" + do},
	} {
		t.Run(name, func(t *testing.T) {
			for name, value := range c.env {
				t.Setenv(name, value)
			}
			got, err := FromEnvironment()
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("-want +got\n%s", diff)
			}
			if c.err == "" && err != nil || c.err != "" && (err == nil || err.Error() != c.err) {
				t.Errorf("error %v, want %q", err, c.err)
			}
		})
	}
}

func TestMaster(t *testing.T) {
	for host, want := range map[string]string{
		"10.0.0.1": "10.0.0.1:29500", "node-1": "node-1:29500", "::1": "[::1]:29500", "[::1]": "[::1]:29500",
		"fe80::1%eth0": "[fe80::1%eth0]:29500",
	} {
		if got := (Info{MasterAddr: host, MasterPort: 29500}).Master(); got != want {
			t.Errorf("%s: %s, want %s", host, got, want)
		}
	}
}

// TestDependencies keeps the launcher, and what it needs, out of workers.
func TestDependencies(t *testing.T) {
	if _, err := exec.LookPath("go"); err != nil {
		nvmltest.Unavailable(t, "the go command is not in PATH: install Go")
	}
	out, err := exec.Command("go", "list", "-deps", "-f", "{{if not .Standard}}{{.ImportPath}}{{end}}", ".").Output()
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
		t.Errorf("go list says %s", out)
	}
}
