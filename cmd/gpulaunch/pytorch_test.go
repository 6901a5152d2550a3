//go:build linux

package main

import (
	"encoding/json"
	"os/exec"
	"regexp"
	"strconv"
	"testing"

	"github.com/gpulaunch/gpulaunch/affinity"
	"github.com/gpulaunch/gpulaunch/launcher/launchertest"
	"github.com/gpulaunch/gpulaunch/launcher/plan"
)

// trained matches what a rank of testdata/train.py says.
var trained = regexp.MustCompile(`(?m)rank=(\d+) world=(\d+) params=(\w+) first=([\d.]+) last=([\d.]+) cpus=([\d,]+)$`)

// checkTraining wants n ranks that agree on parameters that have learnt, and
// gives the parameters' digest and each rank's CPUs.
func checkTraining(t *testing.T, stdout string, n int) (params string, cpus map[string]string) {
	t.Helper()
	cpus = map[string]string{}
	for _, m := range trained.FindAllStringSubmatch(stdout, -1) {
		first, _ := strconv.ParseFloat(m[4], 64)
		last, _ := strconv.ParseFloat(m[5], 64)
		if params == "" {
			params = m[3]
		}
		if m[2] != strconv.Itoa(n) || m[3] != params || last > first/2 {
			t.Errorf("rank %s: world %s, parameters %s (others %s), loss from %v to %v", m[1], m[2],
				m[3], params, first, last)
		}
		cpus[m[1]] = m[6]
	}
	if len(cpus) != n {
		t.Fatalf("%d of %d ranks trained; stdout:\n%s", len(cpus), n, stdout)
	}
	return params, cpus
}

func TestPyTorchTraining(t *testing.T) {
	python := launchertest.Python(t, "torch.distributed")
	const script = "../../launcher/testdata/train.py"
	var ours string
	for _, mode := range []string{"node", "exclusive"} {
		t.Run("affinity "+mode, func(t *testing.T) {
			planned := planJSON(t, "--nproc-per-node=4", "--affinity="+mode)
			j := launchertest.Start(t, []string{"PYTHON_EXEC=" + python}, "run",
				"--nproc-per-node=4", "--affinity="+mode, script)
			code, stderr := j.Exit()
			if code != 0 {
				t.Fatalf("exit code %d\n%s", code, stderr)
			}
			stdout, _ := j.Output()
			var cpus map[string]string
			ours, cpus = checkTraining(t, stdout, 4)
			for _, w := range planned.Workers {
				got, err := affinity.ParseCPUList(cpus[strconv.Itoa(w.Rank)])
				if err != nil || !got.Equal(w.CPUs) {
					t.Errorf("rank %d ran on CPUs %s, planned were %s (%v)", w.Rank, got, w.CPUs,
						err)
				}
			}
		})
	}
	t.Run("forked", func(t *testing.T) {
		j := launchertest.Start(t, []string{"PYTHON_EXEC=" + python}, "run", "--nproc-per-node=4",
			"--start-method=forkserver", "--preload=torch.distributed", script)
		code, stderr := j.Exit()
		if code != 0 {
			t.Fatalf("exit code %d\n%s", code, stderr)
		}
		stdout, _ := j.Output()
		if forked, _ := checkTraining(t, stdout, 4); forked != ours {
			t.Errorf("forked workers trained to %s, executed ones to %s", forked, ours)
		}
	})
	t.Run("the same under torchrun", func(t *testing.T) {
		// -r 1 -t 1: torchrun 1.13 fails on Python 3.11 when it has nothing to redirect.
		cmd := exec.Command(python, "-m", "torch.distributed.run", "--standalone",
			"--nproc_per_node=4",
			"-r", "1", "-t", "1", "--log_dir", t.TempDir(), script)
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("torchrun: %v\n%s", err, out)
		}
		if theirs, _ := checkTraining(t, string(out), 4); theirs != ours {
			t.Errorf("torchrun trained to %s, gpulaunch to %s", theirs, ours)
		}
	})
}

// planJSON is what gpulaunch plan --json says.
func planJSON(t *testing.T, args ...string) plan.Plan {
	t.Helper()
	j := launchertest.Start(t, nil, append([]string{"plan", "--json"}, args...)...)
	code, stderr := j.Exit()
	stdout, _ := j.Output()
	var p plan.Plan
	if err := json.Unmarshal([]byte(stdout), &p); err != nil || code != 0 {
		t.Fatalf("exit code %d, %v\n%s%s", code, err, stdout, stderr)
	}
	return p
}
