//go:build linux

// Package gpulaunch_test holds the end-to-end tests of what a job promises.
package gpulaunch_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/gpulaunch/gpulaunch/affinity"
	"github.com/gpulaunch/gpulaunch/gpu/nvml/nvmltest"
	"github.com/gpulaunch/gpulaunch/launcher"
	"github.com/gpulaunch/gpulaunch/launcher/launchertest"
)

func TestMain(m *testing.M) { os.Exit(launchertest.Main(m)) }

// allowed is what this process may use, at least one CPU.
func allowed(t *testing.T) affinity.CPUSet {
	t.Helper()
	set, err := affinity.Current(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	return set
}

// nodes are CPU masks for the two NUMA nodes of a fake machine. Each has one of
// this machine's CPUs where there are two, and CPUs that it does not have.
func nodes(t *testing.T) (node0, node1 affinity.CPUSet) {
	set := allowed(t)
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
		cpus := node0.Intersect(allowed(t))
		if i >= 4 {
			cpus = node1.Intersect(allowed(t))
		}
		if !r.CPUs.Equal(cpus) {
			t.Errorf("rank %d runs on CPUs %s, want %s", i, r.CPUs, cpus)
		}
		if r.Group != r.PID || r.Blocked != "0000000000000000" || r.Stdin != "" {
			t.Errorf("rank %d: pid %d in group %d, blocked signals %s, standard input %q", i, r.PID, r.Group, r.Blocked, r.Stdin)
		}
	}

	t.Run("affinity none binds nothing", func(t *testing.T) {
		// The negative control: what the workers above have comes from the binding.
		for _, r := range launchertest.Reports(t, nil, "--nvml-library="+library, "--affinity=none") {
			if !r.CPUs.Equal(allowed(t)) {
				t.Errorf("rank %s runs on CPUs %s, want %s", r.Env["RANK"], r.CPUs, allowed(t))
			}
		}
	})
	t.Run("visible all", func(t *testing.T) {
		for i, r := range launchertest.Reports(t, nil, "--nvml-library="+library, "--visible=all") {
			if r.Env["LOCAL_RANK"] != strconv.Itoa(i) || r.Env["CUDA_VISIBLE_DEVICES"] != "0,1,2,3,4,5,6,7" {
				t.Errorf("rank %d: LOCAL_RANK=%s CUDA_VISIBLE_DEVICES=%s", i, r.Env["LOCAL_RANK"], r.Env["CUDA_VISIBLE_DEVICES"])
			}
		}
	})
	t.Run("inherited universe", func(t *testing.T) {
		var ids []string
		for _, r := range launchertest.Reports(t, []string{"CUDA_VISIBLE_DEVICES=5,2," + machine.Devices[7].UUID[:8]}, "--nvml-library="+library) {
			ids = append(ids, r.Env["CUDA_VISIBLE_DEVICES"])
		}
		// A UUID among indexes names nothing, and ends the list.
		if diff := cmp.Diff([]string{"5", "2"}, ids); diff != "" {
			t.Error(diff)
		}
	})
	t.Run("within the launcher's own CPUs", func(t *testing.T) {
		set := allowed(t)
		one := affinity.CPUs(set.Max())
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
		j := launchertest.Start(t, nil, append([]string{"run", "--nproc-per-node=9", "--nvml-library=" + library}, launchertest.Worker("report")...)...)
		code, stderr := j.Exit()
		if code != 125 || !strings.Contains(stderr, "9 workers") || !strings.Contains(stderr, "8 GPUs") {
			t.Errorf("exit code %d, %q", code, stderr)
		}
		got := launchertest.Reports(t, nil, "--nproc-per-node=9", "--oversubscribe", "--nvml-library="+library)
		if len(got) != 9 || got[8].Env["CUDA_VISIBLE_DEVICES"] != "0" {
			t.Errorf("with --oversubscribe: %d workers, the last with %q", len(got), got[len(got)-1].Env["CUDA_VISIBLE_DEVICES"])
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
		"missing":         {filepath.Join(t.TempDir(), "libnvidia-ml.so.1"), 1, "libnvidia-ml.so.1"},
		"does not start":  {nvmltest.Install(t, eight.FailsToStart()), 1, "different versions"},
		"old driver":      {nvmltest.Install(t, eight.OldDriver()), 8, "GPU 0, 1, 2, 3, 4, 5, 6, 7"},
		"lost GPU":        {nvmltest.Install(t, eight.LostGPU(3)), 7, "lost"},
		"hangs":           {nvmltest.Install(t, eight.With(nvmltest.Behavior{Function: "nvmlDeviceGetName", Device: 2, Action: nvmltest.Hang})), 1, "did not answer"},
		"crashes":         {nvmltest.Install(t, eight.With(nvmltest.Behavior{Function: "nvmlInit*", Device: nvmltest.AllDevices, Action: nvmltest.Segfault})), 1, "died"},
		"lacks a symbol":  {nvmltest.Install(t, eight.Without("nvmlDeviceGetUUID")), 8, "GPU 0, 1"},
		"lists no device": {nvmltest.Install(t, nvmltest.Machine{DriverVersion: "550.54.15"}), 1, "lists no GPU"},
	} {
		t.Run(name, func(t *testing.T) {
			j := launchertest.Start(t, nil, append([]string{"run", "--gpu-timeout=3s", "--nvml-library=" + c.library}, launchertest.Worker("report")...)...)
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

func TestAFailureStopsTheOthers(t *testing.T) {
	j := launchertest.Start(t, nil, append([]string{"run", "--nproc-per-node=4"}, launchertest.Worker("fail", "2", "3")...)...)
	code, stderr := j.Exit()
	if code != 3 || !strings.Contains(stderr, "rank 2") || !strings.Contains(stderr, "exited with code 3") {
		t.Errorf("exit code %d, stderr:\n%s", code, stderr)
	}
	stdout, _ := j.Output()
	for _, m := range regexp.MustCompile(`ready (\d+)`).FindAllStringSubmatch(stdout, -1) {
		launchertest.Gone(t, m[1])
	}
}

func TestSignals(t *testing.T) {
	for _, sig := range []syscall.Signal{unix.SIGTERM, unix.SIGINT, unix.SIGHUP, unix.SIGQUIT} {
		t.Run(unix.SignalName(sig), func(t *testing.T) {
			j := launchertest.Start(t, nil, append([]string{"run", "--nproc-per-node=3"}, launchertest.Worker("block")...)...)
			pids := j.Await(3, `ready (\d+)`)
			j.Signal(sig)
			if code, stderr := j.Exit(); code != 128+int(sig) {
				t.Errorf("exit code %d, want %d\n%s", code, 128+int(sig), stderr)
			}
			launchertest.Gone(t, pids...)
		})
	}
	t.Run("grace", func(t *testing.T) {
		j := launchertest.Start(t, nil, append([]string{"run", "--nproc-per-node=2", "--grace=0.1"}, launchertest.Worker("ignore")...)...)
		pids := j.Await(2, `ready (\d+)`)
		j.Signal(unix.SIGTERM)
		if code, stderr := j.Exit(); code != 143 {
			t.Errorf("exit code %d\n%s", code, stderr)
		}
		launchertest.Gone(t, pids...)
	})
	t.Run("twice", func(t *testing.T) {
		// With a grace period longer than the test's patience, only the second
		// signal can end workers that ignore the first.
		j := launchertest.Start(t, nil, append([]string{"run", "--nproc-per-node=2", "--grace=1h"}, launchertest.Worker("ignore")...)...)
		pids := j.Await(2, `ready (\d+)`)
		j.Signal(unix.SIGTERM)
		j.AwaitStderr("SIGTERM: stopping 2 workers")
		launchertest.AnotherWish()
		j.Signal(unix.SIGTERM)
		if code, stderr := j.Exit(); code != 143 {
			t.Errorf("exit code %d\n%s", code, stderr)
		}
		launchertest.Gone(t, pids...)
	})
	t.Run("passed on", func(t *testing.T) {
		j := launchertest.Start(t, nil, append([]string{"run", "--nproc-per-node=2"}, launchertest.Worker("relay")...)...)
		j.Await(2, `ready`)
		for _, sig := range []syscall.Signal{unix.SIGUSR1, unix.SIGUSR2, unix.SIGWINCH, unix.SIGTERM} {
			j.Signal(sig)
			j.Await(2, "got "+unix.SignalName(sig))
		}
		if code, stderr := j.Exit(); code != 143 {
			t.Errorf("exit code %d\n%s", code, stderr)
		}
	})
}

// TestNobodyIsLeft kills the launcher's own processes.
func TestNobodyIsLeft(t *testing.T) {
	t.Run("supervisor killed", func(t *testing.T) {
		j := launchertest.Start(t, nil, append([]string{"run", "--nproc-per-node=2"}, launchertest.Worker("ignore")...)...)
		pids := j.Await(2, `ready (\d+)`)
		if err := unix.Kill(j.Supervisor(), unix.SIGKILL); err != nil {
			t.Fatal(err)
		}
		if code, stderr := j.Exit(); code != 125 || !strings.Contains(stderr, "SIGKILL") {
			t.Errorf("exit code %d\n%s", code, stderr)
		}
		launchertest.Gone(t, pids...)
	})
	t.Run("supervisor crashed", func(t *testing.T) {
		// Go makes an exit code of SIGABRT, which must not pass for a worker's.
		j := launchertest.Start(t, nil, append([]string{"run", "--nproc-per-node=2"}, launchertest.Worker("ignore")...)...)
		pids := j.Await(2, `ready (\d+)`)
		if err := unix.Kill(j.Supervisor(), unix.SIGABRT); err != nil {
			t.Fatal(err)
		}
		if code, stderr := j.Exit(); code != 125 || !strings.Contains(stderr, "the supervisor crashed") {
			t.Errorf("exit code %d\n%s", code, stderr)
		}
		launchertest.Gone(t, pids...)
	})
	t.Run("keeper killed", func(t *testing.T) {
		j := launchertest.Start(t, nil, append([]string{"run", "--nproc-per-node=2"}, launchertest.Worker("ignore")...)...)
		pids := j.Await(2, `ready (\d+)`)
		pids = append(pids, strconv.Itoa(j.Supervisor()))
		j.Signal(unix.SIGKILL)
		launchertest.Gone(t, pids...)
		if _, stderr := j.Exit(); !strings.Contains(stderr, "the launcher's first process is gone: stopping 2 workers at once") {
			t.Errorf("stderr:\n%s", stderr)
		}
	})
}

func TestRestarts(t *testing.T) {
	j := launchertest.Start(t, nil, append([]string{"run", "--nproc-per-node=2", "--max-restarts=3"}, launchertest.Worker("succeed-after", "2")...)...)
	if code, stderr := j.Exit(); code != 0 {
		t.Errorf("exit code %d\n%s", code, stderr)
	}
	stdout, _ := j.Output()
	ports := map[string]map[string]bool{}
	for _, m := range regexp.MustCompile(`attempt (\d) port (\d+)`).FindAllStringSubmatch(stdout, -1) {
		if ports[m[1]] == nil {
			ports[m[1]] = map[string]bool{}
		}
		ports[m[1]][m[2]] = true
	}
	all := map[string]bool{}
	for attempt, set := range ports {
		if len(set) != 1 {
			t.Errorf("attempt %s has the ports %v, want one for all", attempt, set)
		}
		for port := range set {
			all[port] = true
		}
	}
	if len(ports) != 3 || len(all) != 3 {
		t.Errorf("%d attempts with %d ports, want 3 with 3:\n%s", len(ports), len(all), stdout)
	}
}

func TestOutputAndInput(t *testing.T) {
	// A prefix before each line, also before the last one, which has no end.
	j := launchertest.Start(t, nil, append([]string{"run", "--nproc-per-node=1", "--output=prefix", "-q"}, launchertest.Worker("print", "a\nb\r\n\nc", "d")...)...)
	code, stderr := j.Exit()
	stdout, _ := j.Output()
	if code != 0 || stdout != "[0] a\n[0] b\n[0] \n[0] c\n" || stderr != "[0] d\n" {
		t.Errorf("exit code %d, stdout %q, stderr %q", code, stdout, stderr)
	}
	// One worker inherits, unless told otherwise.
	j = launchertest.Start(t, nil, append([]string{"run", "--nproc-per-node=1", "-q"}, launchertest.Worker("print", "a\nb", "d")...)...)
	_, stderr = j.Exit()
	if stdout, _ := j.Output(); stdout != "a\nb\n" || stderr != "d" {
		t.Errorf("inherited: stdout %q, stderr %q", stdout, stderr)
	}

	j = launchertest.StartWithInput(t, strings.NewReader("to rank 0"), nil, append([]string{"run", "--nproc-per-node=2", "--stdin=rank0"}, launchertest.Worker("report")...)...)
	j.Await(1, `^\[0\] report .*"Stdin":"to rank 0"`)
	j.Exit()
	stdout, _ = j.Output()
	if !regexp.MustCompile(`(?m)^\[1\] report .*"Stdin":""`).MatchString(stdout) {
		t.Errorf("rank 1 read something:\n%s", stdout)
	}
}

// pythonWithTorch finds an interpreter that can import torch, or skips.
func pythonWithTorch(t *testing.T) string {
	t.Helper()
	for _, python := range []string{"python3", "/usr/bin/python3"} {
		if exec.Command(python, "-c", "import torch.distributed").Run() == nil {
			return python
		}
	}
	nvmltest.Unavailable(t, "no python3 here can import torch: install python3-torch")
	return ""
}

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
			t.Errorf("rank %s: world %s, parameters %s (others %s), loss from %v to %v", m[1], m[2], m[3], params, first, last)
		}
		cpus[m[1]] = m[6]
	}
	if len(cpus) != n {
		t.Fatalf("%d of %d ranks trained; stdout:\n%s", len(cpus), n, stdout)
	}
	return params, cpus
}

func TestPyTorchTraining(t *testing.T) {
	python := pythonWithTorch(t)
	const script = "launcher/testdata/train.py"
	var ours string
	for _, mode := range []string{"node", "exclusive"} {
		t.Run("affinity "+mode, func(t *testing.T) {
			planned := plan(t, "--nproc-per-node=4", "--affinity="+mode)
			j := launchertest.Start(t, []string{"PYTHON_EXEC=" + python}, "run", "--nproc-per-node=4", "--affinity="+mode, script)
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
					t.Errorf("rank %d ran on CPUs %s, planned were %s (%v)", w.Rank, got, w.CPUs, err)
				}
			}
		})
	}
	t.Run("the same under torchrun", func(t *testing.T) {
		// -r 1 -t 1: torchrun 1.13 fails on Python 3.11 when it has nothing to redirect.
		cmd := exec.Command(python, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=4",
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

// plan is what gpulaunch plan --json says.
func plan(t *testing.T, args ...string) launcher.Plan {
	t.Helper()
	j := launchertest.Start(t, nil, append([]string{"plan", "--json"}, args...)...)
	code, stderr := j.Exit()
	stdout, _ := j.Output()
	var p launcher.Plan
	if err := json.Unmarshal([]byte(stdout), &p); err != nil || code != 0 {
		t.Fatalf("exit code %d, %v\n%s%s", code, err, stdout, stderr)
	}
	return p
}

// TestREADME runs the command that the README shows first.
func TestREADME(t *testing.T) {
	text, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	m := regexp.MustCompile("(?m)^    (go run ./cmd/gpulaunch run .*)$").FindSubmatch(text)
	if m == nil {
		t.Fatal("the README shows no go run ./cmd/gpulaunch run")
	}
	cmd := exec.Command("sh", "-c", string(m[1]))
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	out, err := cmd.CombinedOutput()
	t.Logf("%s\n%s", m[1], out)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`rank 0 of `, `device `, "Cpus_allowed_list:\t"} {
		if !strings.Contains(string(out), want) {
			t.Errorf("no %q in what it prints", want)
		}
	}
}

// BenchmarkLaunch compares the whole of gpulaunch run with a plain fork and exec
// loop. Each round measures both, so that their ratio is that of one moment.
func BenchmarkLaunch(b *testing.B) {
	for _, n := range []int{1, 8, 64, 512} {
		b.Run(fmt.Sprintf("workers=%d", n), func(b *testing.B) {
			var ours, floor []time.Duration
			for b.Loop() {
				floor = append(floor, launchertest.ForkExec(b, n, "/bin/true"))
				ours = append(ours, launchertest.Launch(b, n, "/bin/true"))
			}
			o, f := launchertest.Median(ours), launchertest.Median(floor)
			b.ReportMetric(float64(o.Microseconds())/1000, "launch-ms")
			b.ReportMetric(float64(f.Microseconds())/1000, "floor-ms")
			b.ReportMetric(float64(o)/float64(f), "launch/floor")
		})
	}
}

// BenchmarkMemory looks at the launcher's two processes while eight workers run
// and metrics are served.
func BenchmarkMemory(b *testing.B) {
	for b.Loop() {
		j := launchertest.Start(b, nil, append([]string{"run", "--nproc-per-node=8", "--metrics-address=127.0.0.1:0"}, launchertest.Worker("block")...)...)
		j.Await(8, "ready")
		url := regexp.MustCompile(`http://\S+`).FindString(j.AwaitStderr("metrics are on"))
		for range 3 {
			response, err := http.Get(url)
			if err != nil {
				b.Fatal(err)
			}
			_, _ = io.Copy(io.Discard, response.Body)
			response.Body.Close()
		}
		keeper, supervisor := j.Keeper(), j.Supervisor()
		mib := func(pid int, fields ...string) float64 { return launchertest.Memory(b, pid, fields...) / (1 << 20) }
		b.ReportMetric(mib(supervisor, "Rss"), "supervisor-rss-MiB")
		b.ReportMetric(mib(keeper, "Rss"), "keeper-rss-MiB")
		b.ReportMetric(mib(keeper, "Private_Clean", "Private_Dirty"), "keeper-private-MiB")
		b.ReportMetric(mib(keeper, "Pss")+mib(supervisor, "Pss"), "both-pss-MiB")
		j.Signal(unix.SIGTERM)
		j.Exit()
	}
}
