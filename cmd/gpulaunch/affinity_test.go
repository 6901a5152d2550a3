//go:build linux

package main

import (
	"encoding/json"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/gpulaunch/gpulaunch/affinity"
	"github.com/gpulaunch/gpulaunch/gpu/nvml/nvmltest"
	"github.com/gpulaunch/gpulaunch/launcher/launchertest"
)

// needTwoCPUs gives the CPUs that this process may use, of which there must be two.
func needTwoCPUs(t *testing.T) affinity.CPUSet {
	t.Helper()
	set := launchertest.AllowedCPUs(t)
	if set.Len() < 2 {
		nvmltest.NotOnThisMachine(t, "only CPU "+set.String()+
			" may be used; two are needed to tell workers apart")
	}
	return set
}

// used gives the CPUs that any thread of a process may run on, as the kernel says.
func used(t *testing.T, pid string) (set affinity.CPUSet) {
	t.Helper()
	n, err := strconv.Atoi(pid)
	if err != nil {
		t.Fatal(err)
	}
	threads, err := affinity.CurrentAll(n)
	if err != nil {
		t.Fatal(err)
	}
	for _, cpus := range threads {
		set = set.Union(cpus)
	}
	return set
}

// TestBusyWorkersStayInside reads from the kernel where threads and children of
// computing workers may run.
func TestBusyWorkersStayInside(t *testing.T) {
	needTwoCPUs(t)
	startMethods(t, func(t *testing.T, python, method string) {
		planned := planJSON(t, "--nproc-per-node=2", "--affinity=exclusive")
		if !planned.Workers[0].CPUs.Intersect(planned.Workers[1].CPUs).IsEmpty() {
			nvmltest.NotOnThisMachine(t,
				"the workers share the cores "+planned.Workers[0].CPUs.String())
		}
		j := startSpawn(t, python, method, []string{"--nproc-per-node=2", "--affinity=exclusive"},
			"busy")
		j.Await(2, "busy")
		stdout, _ := j.Output()
		for _, m := range regexp.MustCompile(`\[(\d)\] busy (\d+) (\d+)`).FindAllStringSubmatch(stdout, -1) {
			rank, _ := strconv.Atoi(m[1])
			for _, pid := range m[2:] {
				if got := used(t, pid); !got.Equal(planned.Workers[rank].CPUs) {
					t.Errorf("process %s of rank %d may run on CPUs %s, planned are %s", pid, rank,
						got, planned.Workers[rank].CPUs)
				}
			}
		}
	})
	t.Run("control", func(t *testing.T) {
		j := startSpawn(t, launchertest.Python(t), "exec",
			[]string{"--nproc-per-node=2", "--affinity=none"}, "busy")
		if got := used(t, j.Await(2, `busy (\d+)`)[0]); !got.Equal(launchertest.AllowedCPUs(t)) {
			t.Errorf("a worker that is not bound may run on CPUs %s", got)
		}
	})
}

// TestAWorkerThatBindsItself is told of by a warning and a metric.
func TestAWorkerThatBindsItself(t *testing.T) {
	needTwoCPUs(t)
	j := startSpawn(t, launchertest.Python(t), "exec", []string{"--nproc-per-node=2",
		"--affinity=exclusive", "--metrics-address=127.0.0.1:0"}, "stray")
	j.Await(2, "ready")
	url := regexp.MustCompile(`http://\S+`).FindString(j.AwaitStderr("metrics are on"))
	stderr := j.AwaitStderr("has threads that may run on CPUs")
	if !regexp.MustCompile(`warning: rank \d \(pid \d+\) has threads that may run on CPUs \d, outside of its own \d`).MatchString(stderr) {
		t.Errorf("stderr:\n%s", stderr)
	}
	response, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if text, _ := io.ReadAll(response.Body); !regexp.MustCompile(`(?m)^gpulaunch_worker_within_cpus\{rank="\d"\} 0$`).Match(text) {
		t.Errorf("metrics:\n%s", text)
	}
	j.Signal(unix.SIGTERM)
	j.Exit()
}

// TestMemoryPolicy reads from the kernel where workers' memory comes from.
func TestMemoryPolicy(t *testing.T) {
	startMethods(t, func(t *testing.T, python, method string) {
		for policy, word := range map[string]string{"none": "default", "bind": "bind:",
			"preferred": "prefer", "interleave": "interleave:"} {
			j := startSpawn(t, python, method, []string{"--nproc-per-node=2", "--memory-policy=" +
				policy}, "raise-one", "-1")
			for _, pid := range j.Await(2, `ready (\d+)`) {
				maps, err := os.ReadFile("/proc/" + pid + "/numa_maps")
				if fields := strings.Fields(string(maps)); err != nil ||
					!strings.HasPrefix(fields[1], word) {
					t.Errorf("%s: %v, %q", policy, err, fields[:min(3, len(fields))])
				}
			}
			j.Signal(unix.SIGTERM)
			j.Exit()
		}
	})
}

// topology is a captured machine of ../shared; without it the test skips.
func topology(t *testing.T, name string) string {
	t.Helper()
	path := filepath.Join("..", "..", "..", "shared", "topologies", name)
	if _, err := os.Stat(path); err != nil {
		nvmltest.NotOnThisMachine(t, "the captured machines are not here: "+err.Error())
	}
	return path
}

// TestPlansElsewhere has the cases that others get wrong.
func TestPlansElsewhere(t *testing.T) {
	if _, err := os.Stat("/dev/shm"); err == nil {
		t.Setenv("TMPDIR", "/dev/shm") // thousands of files are unpacked
	}
	for name, c := range map[string]struct {
		capture, localities, affinity string
		want                          []string
		warning                       string
	}{
		"all on one node of two": {"hwloc-32intel64-2p8co2t+8ve.tar.bz2", "0,0,0,0,0,0,0,0",
			"exclusive",
			[]string{"0,16", "1,17", "2,18", "3,19", "4,20", "5,21", "6,22", "7,23"}, ""},
		"node unknown": {"ghw-accel-nvidia.tar.gz", "0000:06:00.0", "node", []string{"0-7"},
			""},
		"GPU memory nodes": {"hwloc-nvidiagpunumanodes.tar.bz2", "0,0,0", "exclusive",
			[]string{"0-3", "4-7", "8-15"}, ""},
		"cgroup": {"hwloc-32amd64-4s2n4c-cgroup2.tar.bz2", "-1,-1", "exclusive",
			[]string{"0-2", "3-5"}, ""},
		"cgroup, elsewhere": {"hwloc-32amd64-4s2n4c-cgroup2.tar.bz2", "2", "node", []string{"0-5"},
			"allowed"},
		"offline siblings": {"hwloc-16em64t-4s2c2t-offlines.tar.bz2", "0,0,0,0", "exclusive",
			[]string{"0,8", "1,4,9,12", "3,11", "6-7,10,15"}, ""},
		"socket": {"hwloc-32intel64-2p8co2t+8ve.tar.bz2", "0", "socket",
			[]string{"0-7,16-23"}, ""},
		"single": {"hwloc-32intel64-2p8co2t+8ve.tar.bz2", "1,1", "single",
			[]string{"8,24", "12,28"}, ""},
		"map": {"hwloc-32intel64-2p8co2t+8ve.tar.bz2", "0,0", "map=0-3;9,10",
			[]string{"0-3", "9-10"}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			p := planJSON(t, "--from="+topology(t, c.capture), "--localities="+c.localities,
				"--affinity="+c.affinity)
			var got []string
			for _, w := range p.Workers {
				got = append(got, w.CPUs.String())
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Error(diff)
			}
			if warned := strings.Join(p.Warnings, "\n"); (c.warning == "") != (warned == "") ||
				!strings.Contains(warned, c.warning) {
				t.Errorf("warnings %q", p.Warnings)
			}
		})
	}
}

// TestLocalitiesAreCanonical names a device in the forms that NVML, nvidia-smi and lspci have.
func TestLocalitiesAreCanonical(t *testing.T) {
	intel := topology(t, "hwloc-32intel64-2p8co2t+8ve.tar.bz2")
	p := planJSON(t, "--from="+intel, "--localities=0000:3D:00.0,00000000:1B:00.0, 3f:0.0")
	var got []string
	for _, w := range p.Workers {
		got = append(got, w.Device.PCIBusID+" "+w.Env["GPULAUNCH_GPU_PCI"])
	}
	want := []string{"0000:3d:00.0 0000:3d:00.0", "0000:1b:00.0 0000:1b:00.0",
		"0000:3f:00.0 0000:3f:00.0"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestPlanMistakes(t *testing.T) {
	intel := topology(t, "hwloc-32intel64-2p8co2t+8ve.tar.bz2")
	limited := topology(t, "hwloc-32amd64-4s2n4c-cgroup2.tar.bz2")
	for says, args := range map[string][]string{
		"no NUMA node 7":                          {"--from=" + intel, "--localities=7"},
		"neither a PCI address":                   {"--from=" + intel, "--localities=gpu0"},
		"no PCI device 0000:ff:00.0":              {"--from=" + intel, "--localities=0000:FF:00.0"},
		"--localities=0 needs --from":             {"--localities=0"},
		"no-such-file":                            {"--from=no-such-file"},
		"two names for one thing":                 {"--affinity=node", "--numa-binding=socket"},
		`"single" is unknown: use node or socket`: {"--numa-binding=single"},
		"4000":                     {"--affinity=map=4000"},
		"cannot write the picture": {"--svg=/no/such/folder/plan.svg"},
		`"far" is not a choice of a network device`: {"--nic=far"},
		"0-5": {"--from=" + limited, "--localities=2", "--strict-affinity"},
	} {
		j := launchertest.Start(t, nil, append([]string{"plan"}, args...)...)
		if code, stderr := j.Exit(); code != 125 || !strings.Contains(stderr, says) ||
			strings.Count(stderr, "\n") != 1 {
			t.Errorf("%q: exit code %d, want 125 and one line with %q:\n%s", args, code, says,
				stderr)
		}
	}
}

// TestStrictWithAbsentCPUs has an NVML that names only CPUs that the machine does not have.
func TestStrictWithAbsentCPUs(t *testing.T) {
	absent := make([]uint64, 126)
	absent[125] = 1 // CPU 8000
	library := nvmltest.Install(t, nvmltest.EightGPUs(absent, absent))
	j := launchertest.Start(t, nil, "plan", "--strict-affinity", "--nvml-library="+library)
	if code, stderr := j.Exit(); code != 125 || strings.Count(stderr, "\n") != 1 ||
		!strings.Contains(stderr, "the device library says its CPUs are 8000, but none") {
		t.Errorf("exit code %d\n%s", code, stderr)
	}
	p := planJSON(t, "--nvml-library="+library)
	if len(p.Workers) != 8 || len(p.Warnings) != 1 || !strings.Contains(p.Warnings[0], "8000") {
		t.Errorf("%d workers, warnings %q", len(p.Workers), p.Warnings)
	}
}

// TestCapture plans for this machine by what was captured of it.
func TestCapture(t *testing.T) {
	path := filepath.Join(t.TempDir(), "machine.tar.gz")
	j := launchertest.Start(t, nil, "capture", path)
	if code, stderr := j.Exit(); code != 0 || stderr != "" {
		t.Fatalf("exit code %d\n%s", code, stderr)
	}
	for _, mode := range []string{"node", "exclusive", "core-complex", "single"} {
		here := planJSON(t, "--nproc-per-node=3", "--affinity="+mode)
		there := planJSON(t, "--nproc-per-node=3", "--affinity="+mode, "--from="+path)
		for i := range here.Workers {
			if h, e := here.Workers[i], there.Workers[i]; !h.CPUs.Equal(e.CPUs) ||
				h.Env["OMP_NUM_THREADS"] != e.Env["OMP_NUM_THREADS"] {
				t.Errorf("%s, rank %d: CPUs %s here, %s by the capture", mode, i, h.CPUs, e.CPUs)
			}
		}
	}
	j = launchertest.Start(t, nil, "capture")
	if code, stderr := j.Exit(); code != 125 ||
		!strings.Contains(stderr, "gpulaunch capture machine.tar.gz") {
		t.Errorf("exit code %d\n%s", code, stderr)
	}
}

// TestCaptureOfGPUs: the GPUs travel along, what names them does not.
func TestCaptureOfGPUs(t *testing.T) {
	node0, node1 := nodes(t)
	library := nvmltest.Install(t, nvmltest.EightGPUs(words(node0), words(node1)))
	path := filepath.Join(t.TempDir(), "machine.tar.gz")
	j := launchertest.Start(t, nil, "capture", "--nvml-library="+library, path)
	if code, stderr := j.Exit(); code != 0 {
		t.Fatalf("exit code %d\n%s", code, stderr)
	}
	here, there := planJSON(t, "--nvml-library="+library), planJSON(t, "--from="+path)
	if len(there.Workers) != 8 {
		t.Fatalf("%d workers", len(there.Workers))
	}
	text, err := json.Marshal(there)
	if err != nil {
		t.Fatal(err)
	}
	for i, w := range there.Workers {
		if h := here.Workers[i]; !w.CPUs.Equal(h.CPUs) || w.Device.Name != h.Device.Name ||
			w.Device.PCIBusID != h.Device.PCIBusID {
			t.Errorf("rank %d: %+v by the capture, %+v here", i, w, h)
		}
		if strings.Contains(string(text), here.Workers[i].Device.UUID) {
			t.Errorf("the capture names %s", here.Workers[i].Device.UUID)
		}
	}
}

// TestDrawing looks at the drawing's promises, not at its strokes.
func TestDrawing(t *testing.T) {
	dir := t.TempDir()
	svg := filepath.Join(dir, "plan.svg")
	j := launchertest.Start(t, []string{"COLUMNS=80"}, "plan",
		"--from="+topology(t, "hwloc-32intel64-2p8co2t+8ve.tar.bz2"),
		"--localities=0,1", "--affinity=exclusive", "--svg="+svg)
	code, stderr := j.Exit()
	stdout, _ := j.Output()
	_, drawing, _ := strings.Cut(stdout, "\n\n2 packages")
	if code != 0 || strings.Count(drawing, "rank 0, GPU 0") != 1 ||
		strings.Count(drawing, "GPU 1 → rank 1") != 1 || strings.Contains(stdout, "\x1b") {
		t.Errorf("exit code %d\n%s%s", code, stdout, stderr)
	}
	for line := range strings.Lines(drawing) {
		if n := len([]rune(strings.TrimSuffix(line, "\n"))); n > 80 {
			t.Errorf("%d columns: %s", n, line)
		}
	}
	if text, err := os.ReadFile(svg); err != nil || !strings.HasPrefix(string(text), "<?xml") &&
		!strings.HasPrefix(string(text), "<svg") {
		t.Errorf("%v %.40s", err, text)
	}
}
