//go:build linux

package main

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/gpulaunch/gpulaunch/affinity"
	"github.com/gpulaunch/gpulaunch/gpu/nvml/nvmltest"
	"github.com/gpulaunch/gpulaunch/launcher/launchertest"
)

// nodes are CPU masks for the two NUMA nodes of a fake machine. Each has one of
// this machine's CPUs where there are two, and CPUs that it does not have.
func nodes(t *testing.T) (node0, node1 affinity.CPUSet) {
	set := launchertest.AllowedCPUs(t)
	return affinity.CPUs(set.Min(), 2000), affinity.CPUs(set.Max(), 2001)
}

func words(set affinity.CPUSet) []uint64 {
	list := make([]uint64, set.Max()/64+1)
	for cpu := range set.All() {
		list[cpu/64] |= 1 << (cpu % 64)
	}
	return list
}

func TestEightGPUs(t *testing.T) {
	node0, node1 := nodes(t)
	machine := nvmltest.EightGPUs(words(node0), words(node1))
	library := nvmltest.Install(t, machine)
	allowed := launchertest.AllowedCPUs(t)
	got := launchertest.Reports(t, nil, "--nvml-library="+library)
	if len(got) != 8 {
		t.Fatalf("%d workers, want 8", len(got))
	}
	for i, r := range got {
		want := map[string]string{
			"RANK": strconv.Itoa(i), "WORLD_SIZE": "8", "LOCAL_WORLD_SIZE": "8",
			"LOCAL_RANK": "0", "GPULAUNCH_LOCAL_RANK": strconv.Itoa(i),
			"CUDA_VISIBLE_DEVICES": strconv.Itoa(i), "CUDA_DEVICE_ORDER": "PCI_BUS_ID",
			"GPULAUNCH_GPU_UUID": machine.Devices[i].UUID, "GPULAUNCH_GPU_INDEX": strconv.Itoa(i),
			"GPULAUNCH_GPU_PCI": fmt.Sprintf("0000:%02x:00.0", machine.Devices[i].Bus),
			"GROUP_RANK":        "0", "MASTER_ADDR": "127.0.0.1", "TORCHELASTIC_RESTART_COUNT": "0",
			"TORCHELASTIC_USE_AGENT_STORE": "False",
		}
		for name, value := range want {
			if r.Env[name] != value {
				t.Errorf("rank %d has %s=%q, want %q", i, name, r.Env[name], value)
			}
		}
		cpus := node0.Intersect(allowed)
		if i >= 4 {
			cpus = node1.Intersect(allowed)
		}
		if !r.CPUs.Equal(cpus) {
			t.Errorf("rank %d runs on CPUs %s, want %s", i, r.CPUs, cpus)
		}
		if r.Group != r.PID || r.Blocked != "0000000000000000" || r.Stdin != "" {
			t.Errorf("rank %d: pid %d in group %d, blocked signals %s, standard input %q", i, r.PID,
				r.Group, r.Blocked, r.Stdin)
		}
	}

	t.Run("affinity none binds nothing", func(t *testing.T) {
		// The negative control: what the workers above have comes from the binding.
		for _, r := range launchertest.Reports(t, nil, "--nvml-library="+library,
			"--affinity=none") {
			if !r.CPUs.Equal(allowed) {
				t.Errorf("rank %s runs on CPUs %s, want %s", r.Env["RANK"], r.CPUs, allowed)
			}
		}
	})
	t.Run("visible all", func(t *testing.T) {
		for i, r := range launchertest.Reports(t, nil, "--nvml-library="+library, "--visible=all") {
			if r.Env["LOCAL_RANK"] != strconv.Itoa(i) ||
				r.Env["CUDA_VISIBLE_DEVICES"] != "0,1,2,3,4,5,6,7" {
				t.Errorf("rank %d: LOCAL_RANK=%s CUDA_VISIBLE_DEVICES=%s", i, r.Env["LOCAL_RANK"],
					r.Env["CUDA_VISIBLE_DEVICES"])
			}
		}
	})
	t.Run("inherited universe", func(t *testing.T) {
		var ids []string
		for _, r := range launchertest.Reports(t, []string{"CUDA_VISIBLE_DEVICES=5,2," +
			machine.Devices[7].UUID[:8]}, "--nvml-library="+library) {
			ids = append(ids, r.Env["CUDA_VISIBLE_DEVICES"])
		}
		// A UUID among indexes names nothing, and ends the list.
		if diff := cmp.Diff([]string{"5", "2"}, ids); diff != "" {
			t.Error(diff)
		}
	})
	t.Run("within the launcher's own CPUs", func(t *testing.T) {
		one := affinity.CPUs(allowed.Max())
		runtime.LockOSThread() // not unlocked on failure: the thread is then bound
		restore, err := affinity.Apply(one)
		if err != nil {
			t.Fatal(err)
		}
		got := launchertest.Reports(t, nil, "--nvml-library="+library)
		if err := restore(); err != nil {
			t.Fatal(err)
		}
		runtime.UnlockOSThread()
		for _, r := range got {
			if !r.CPUs.Equal(one) {
				t.Errorf("rank %s runs on CPUs %s, want %s", r.Env["RANK"], r.CPUs, one)
			}
		}
	})
	t.Run("more workers than GPUs", func(t *testing.T) {
		j := launchertest.Start(t, nil, append([]string{"run", "--nproc-per-node=9",
			"--nvml-library=" + library}, launchertest.Worker("report")...)...)
		code, stderr := j.Exit()
		if code != 125 || !strings.Contains(stderr, "9 workers") ||
			!strings.Contains(stderr, "8 GPUs") {
			t.Errorf("exit code %d, %q", code, stderr)
		}
		got := launchertest.Reports(t, nil, "--nproc-per-node=9", "--oversubscribe",
			"--nvml-library="+library)
		if len(got) != 9 || got[8].Env["CUDA_VISIBLE_DEVICES"] != "0" {
			t.Errorf("with --oversubscribe: %d workers, the last with %q", len(got),
				got[len(got)-1].Env["CUDA_VISIBLE_DEVICES"])
		}
	})
}

// TestTrouble has libraries that do not work as they should. Each must leave the
// healthy GPUs, or the CPU fallback, and its reason must be told once.
func TestTrouble(t *testing.T) {
	node0, node1 := nodes(t)
	eight := nvmltest.EightGPUs(words(node0), words(node1))
	for name, c := range map[string]struct {
		library string
		workers int
		reason  string
	}{
		"does not start": {nvmltest.Install(t, eight.FailsToStart()), 1, "different versions"},
		"old driver": {nvmltest.Install(t, eight.OldDriver()), 8,
			"GPU 0, 1, 2, 3, 4, 5, 6, 7"},
		"lost GPU": {nvmltest.Install(t, eight.LostGPU(3)), 7, "is left out: GPU is lost"},
		"hangs": {nvmltest.Install(t,
			eight.With(nvmltest.Behavior{Function: "nvmlDeviceGetName", Device: 2,
				Action: nvmltest.Hang})), 1, "did not answer"},
		"crashes": {nvmltest.Install(t, eight.With(nvmltest.Behavior{Function: "nvmlInit*",
			Device: nvmltest.AllDevices, Action: nvmltest.Segfault})), 1, "died"},
		"lacks a symbol": {nvmltest.Install(t, eight.Without("nvmlDeviceGetUUID")), 8, "GPU 0, 1"},
		"lists no device": {nvmltest.Install(t, nvmltest.Machine{DriverVersion: "550.54.15"}), 1,
			"lists no GPU"},
	} {
		t.Run(name, func(t *testing.T) {
			j := launchertest.Start(t, nil, append([]string{"run", "--gpu-timeout=3s",
				"--nvml-library=" + c.library}, launchertest.Worker("report")...)...)
			code, stderr := j.Exit()
			stdout, _ := j.Output()
			if n := strings.Count(stdout, "report {"); code != 0 || n != c.workers {
				t.Errorf("exit code %d and %d workers, want 0 and %d", code, n, c.workers)
			}
			if n := strings.Count(stderr, c.reason); n != 1 {
				t.Errorf("%q is told %d times, want once:\n%s", c.reason, n, stderr)
			}
		})
	}
}

// TestUnlikeCards has a slow card that comes first on the bus: a list of indexes is warned about
// with both names, and an explicit order is honoured.
func TestUnlikeCards(t *testing.T) {
	m := two(t).WithDevice(0, func(d *nvmltest.Device) {
		d.Name, d.Cores, d.MaxSMClock = "NVIDIA T400", 384, 1425
	})
	library := nvmltest.Install(t, m)
	for order, c := range map[string]struct {
		id, name string
		warned   bool
	}{
		"":              {"0", m.Devices[0].UUID, true},
		"PCI_BUS_ID":    {"0", m.Devices[0].UUID, false},
		"FASTEST_FIRST": {m.Devices[1].UUID, m.Devices[1].UUID, false},
	} {
		j := launchertest.Start(t, []string{"CUDA_VISIBLE_DEVICES=0", "CUDA_DEVICE_ORDER=" + order},
			append([]string{"run", "--nvml-library=" + library}, launchertest.Worker("report")...)...)
		code, stderr := j.Exit()
		stdout, _ := j.Output()
		if code != 0 || !strings.Contains(stdout, `"CUDA_VISIBLE_DEVICES":"`+c.id+`"`) ||
			!strings.Contains(stdout, `"GPULAUNCH_GPU_UUID":"`+c.name+`"`) {
			t.Errorf("%s: exit code %d\n%s", order, code, stdout)
		}
		warned := strings.Contains(stderr, "warning: ") && strings.Contains(stderr, "NVIDIA T400") &&
			strings.Contains(stderr, "NVIDIA H100 80GB HBM3")
		if warned != c.warned || strings.Contains(stderr, "warning: ") != c.warned {
			t.Errorf("%s: %s", order, stderr)
		}
	}
}

// TestNamedLibrary: a job does not start without the NVML library that the user named, on CPUs or
// with the driver's files. Where it is not needed, it does not matter.
func TestNamedLibrary(t *testing.T) {
	folder := t.TempDir()
	text := filepath.Join(folder, "text.so")
	if err := os.WriteFile(text, []byte("not a library"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, library := range []string{filepath.Join(folder, "libnvidia-ml.so.1"), text, folder} {
		for _, command := range []string{"run", "plan"} {
			for flag, env := range map[string]string{"--nvml-library=" + library: "X=",
				"--quiet": "GPULAUNCH_NVML_LIBRARY=" + library} {
				if command == "plan" && flag == "--quiet" {
					flag = "--json"
				}
				j := launchertest.Start(t, []string{env}, command, flag, "--", "echo", "started")
				code, stderr := j.Exit()
				stdout, _ := j.Output()
				if code != 125 || stdout != "" || strings.Count(stderr, "\n") != 1 ||
					!strings.Contains(stderr, "--nvml-library names a library that cannot be used") ||
					!strings.Contains(stderr, library) {
					t.Errorf("%s %s: exit code %d\n%s%s", command, flag, code, stdout, stderr)
				}
			}
		}
		for _, args := range [][]string{{"devices"}, {"devices", "--json"},
			{"capture", filepath.Join(folder, "machine.tar.gz")}} {
			code, stdout, stderr := ended(t, append(args, "--nvml-library="+library)...)
			if code != 125 || stdout != "" || !strings.Contains(stderr, library) {
				t.Errorf("%q: exit code %d\n%s%s", args, code, stdout, stderr)
			}
		}
		code, stdout, stderr := ended(t, "run", "--nvml-library="+library, "--nproc-per-node=cpu",
			"--affinity=none", "-q", "--", "true")
		if code != 0 {
			t.Errorf("on CPUs: exit code %d\n%s%s", code, stdout, stderr)
		}
	}
}

// TestSlowStart: that NVML does not come back while a job is planned is told once, with the call,
// and that it has.
func TestSlowStart(t *testing.T) {
	t.Parallel()
	library := nvmltest.Install(t, two(t).With(nvmltest.Sleep(6500).In("nvmlInitWithFlags")))
	code, stdout, stderr := ended(t, append([]string{"run", "--gpu-timeout=50s",
		"--nvml-library=" + library}, launchertest.Worker("report")...)...)
	for _, line := range []string{"gpulaunch: NVML has not returned from nvmlInitWithFlags for ",
		"; it is waited for up to 50s (--gpu-timeout)\n", "gpulaunch: NVML has answered, after "} {
		if n := strings.Count(stderr, line); n != 1 {
			t.Errorf("%q is told %d times\n%s", line, n, stderr)
		}
	}
	if code != 0 || strings.Count(stdout, "report {") != 2 {
		t.Errorf("exit code %d\n%s%s", code, stdout, stderr)
	}
}
