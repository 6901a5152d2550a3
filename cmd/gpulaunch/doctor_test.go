//go:build linux

package main

import (
	"encoding/json"
	"net"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/gpulaunch/gpulaunch/gpu/nvml/nvmltest"
	"github.com/gpulaunch/gpulaunch/launcher/doctor"
	"github.com/gpulaunch/gpulaunch/launcher/launchertest"
	"github.com/gpulaunch/gpulaunch/launcher/terminal"
)

// diagnosis is what doctor --json prints, and its exit code.
type diagnosis struct {
	Ready  bool            `json:"ready"`
	Checks []doctor.Result `json:"checks"`
	code   int
}

// neutral holds variables that this machine may have set and that doctor would report.
var neutral = []string{"GPULAUNCH_METRICS_ADDRESS=off", "PYTHON_EXEC=", "CUDA_DEVICE_ORDER=",
	"LD_PRELOAD=", "NCCL_DEBUG="}

func consult(t *testing.T, env []string, argv ...string) diagnosis {
	t.Helper()
	j := launchertest.StartCommand(t, nil, append(slices.Clone(neutral), env...), argv...)
	code, stderr := j.Exit()
	stdout, _ := j.Output()
	d := diagnosis{code: code}
	if err := json.Unmarshal([]byte(stdout), &d); err != nil || stderr != "" {
		t.Fatalf("exit code %d, %v, %s\n%s", code, err, stderr, stdout)
	}
	if (code == 0) != d.Ready || code > 1 || d.Ready != doctor.Ready(d.Checks) {
		t.Errorf("exit code %d, ready: %v", code, d.Ready)
	}
	return d
}

func examined(t *testing.T, m nvmltest.Machine, env ...string) diagnosis {
	t.Helper()
	return consult(t, env, launchertest.Binary, "doctor", "--json", "--gpu-timeout=3s",
		"--nvml-library="+nvmltest.Install(t, m))
}

// has checks that a check has a result.
func (d diagnosis) has(t *testing.T, check string, status doctor.Status, found string) {
	t.Helper()
	for _, r := range d.Checks {
		if r.Check == check && r.Status == status && strings.Contains(r.Found, found) {
			return
		}
	}
	t.Errorf("%s is not %s with %q: %+v", check, status, found, d.Checks)
}

// failures returns the names of the checks that failed.
func (d diagnosis) failures() (names []string) {
	for _, r := range d.Checks {
		if r.Status == doctor.Fail {
			names = append(names, r.Check)
		}
	}
	return names
}

// shortVersion returns the machine with an NVML that shortens its version.
func shortVersion(m nvmltest.Machine) nvmltest.Machine {
	m.NVMLVersion = "550.54"
	return m
}

func TestDoctor(t *testing.T) {
	eight := eightGPUs(t)
	for name, c := range map[string]struct {
		machine nvmltest.Machine
		env     []string
		check   string
		status  doctor.Status
		found   string
		fails   []string
	}{
		"eight GPUs": {eight, nil, "health", doctor.OK, "8 GPUs", nil},
		"plan":       {eight, nil, "plan", doctor.OK, "8 workers", nil},
		"lost": {eight.LostGPU(3), nil, "health", doctor.Warn,
			"lost (code 15) (a job would do without it)", nil},
		"lost and wanted": {eight.LostGPU(3), []string{"GPULAUNCH_HEALTH=fail"}, "health",
			doctor.Fail, "lost", []string{"health", "plan"}},
		"no permission": {eight.With(nvmltest.Fail(4).InDevice("nvmlDeviceGetHandleByIndex*", 3)),
			nil, "health", doctor.Warn, "no permission", nil},
		"shortened version": {shortVersion(eight), nil, "versions", doctor.OK, "550.54.15", nil},
		"lost and hidden": {eight.LostGPU(3), []string{"CUDA_VISIBLE_DEVICES=0,1"}, "health",
			doctor.Warn, "lost", nil},
		"ECC": {eight.WithDevice(5, func(d *nvmltest.Device) {
			d.Health.ECC = &nvmltest.ECC{VolatileUncorrected: 7}
		}), nil,
			"health", doctor.Fail, "GPU 5 (0000:c3:00.0): 7 uncorrectable", []string{"health"}},
		"hang": {eight.With(nvmltest.Behavior{Function: "nvmlDeviceGetName", Device: 2,
			Action: nvmltest.Hang}), nil,
			"discovery", doctor.Fail, "the driver hangs: NVML did not answer within 3s",
			[]string{"discovery"}},
		"crash": {eight.With(nvmltest.Behavior{Function: "nvmlInit*", Device: nvmltest.AllDevices,
			Action: nvmltest.Segfault}), nil,
			"discovery", doctor.Fail, "died", []string{"discovery"}},
		"mismatch": {eight.FailsToStart(), nil, "discovery", doctor.Fail, "different versions",
			[]string{"discovery"}},
		"MIG without instances": {eight.MIG(2).WithDevice(2,
			func(d *nvmltest.Device) { d.Instances = nil }), nil,
			"mig", doctor.Warn, "GPU 2", nil},
		"busy": {eight.WithDevice(1, func(d *nvmltest.Device) {
			d.Processes = []nvmltest.Process{{PID: 1 << 30, Used: 1 << 30,
				GPUInstance: nvmltest.NoInstance, ComputeInstance: nvmltest.NoInstance}}
		}), nil, "busy", doctor.Warn, "pid 1073741824 (1 GiB)", nil},
		"persistence": {eight.WithDevice(6, func(d *nvmltest.Device) {
			d.Health.Persistence = new(bool)
		}), nil, "persistence", doctor.Warn, "GPU 6", nil},
		"names no GPU": {eight, []string{"CUDA_VISIBLE_DEVICES=9"}, "plan", doctor.Fail,
			"CUDA_VISIBLE_DEVICES", []string{"plan"}},
		"hides some": {eight, []string{"CUDA_VISIBLE_DEVICES=0,1"}, "visible-devices",
			doctor.Warn, "hides 6 of 8", nil},
		"other launcher": {eight, []string{"RANK=3"}, "variables", doctor.Warn, `RANK="3"`, nil},
		"bad variable": {eight, []string{"GPULAUNCH_AFFINITY=near"}, "plan", doctor.Fail,
			"GPULAUNCH_AFFINITY", []string{"plan"}},
		"TMPDIR": {eight, []string{"TMPDIR=/proc/no"}, "tmpdir", doctor.Warn, "/proc/no",
			nil},
		"wrong Python": {eight, []string{"PYTHON_EXEC=/no/python"}, "python", doctor.Fail,
			"/no/python", []string{"python"}},
		"no GPU is found": {nvmltest.Machine{DriverVersion: "550.54.15"}, nil, "discovery",
			doctor.Fail, "lists no GPU", []string{"discovery"}},
	} {
		t.Run(name, func(t *testing.T) {
			d := examined(t, c.machine, c.env...)
			d.has(t, c.check, c.status, c.found)
			if got := d.failures(); !slices.Equal(got, c.fails) {
				t.Errorf("FAIL: %q, want %q: %+v", got, c.fails, d.Checks)
			}
		})
	}
}

// TestDoctorLimits checks that doctor reports the soft limit that workers get, and not the one that
// the Go runtime has raised for doctor itself.
func TestDoctorLimits(t *testing.T) {
	bash, err := exec.LookPath("bash")
	if err != nil {
		nvmltest.Unavailable(t, "bash is not here: its ulimit knows of processes")
	}
	d := consult(t, nil, bash, "-c", `ulimit -Sn 1000 && ulimit -u 2000 && exec "$@"`, "bash",
		launchertest.Binary, "doctor", "--json")
	d.has(t, "nofile", doctor.Warn, "1000 (")
	d.has(t, "nproc", doctor.Warn, "2000 (")
	d = consult(t, nil, "sh", "-c", `ulimit -Sn 5000 && exec "$@"`, "sh", launchertest.Binary,
		"doctor", "--json")
	d.has(t, "nofile", doctor.OK, "5000 (")
}

func TestDoctorMetrics(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	taken := l.Addr().String()
	d := consult(t, []string{"GPULAUNCH_METRICS_ADDRESS=" + taken}, launchertest.Binary, "doctor",
		"--json")
	d.has(t, "metrics", doctor.Fail, taken)
	l.Close()
	d = consult(t, []string{"GPULAUNCH_METRICS_ADDRESS=" + taken}, launchertest.Binary, "doctor",
		"--json")
	d.has(t, "metrics", doctor.OK, taken)
}

// TestDoctorText has no terminal, so each result and each remedy is on one line, without colours.
func TestDoctorText(t *testing.T) {
	library := nvmltest.Install(t, eightGPUs(t).LostGPU(3))
	env := append(slices.Clone(neutral), "GPULAUNCH_HEALTH=fail")
	j := launchertest.Start(t, env, "doctor", "--nvml-library="+library)
	code, stderr := j.Exit()
	stdout, _ := j.Output()
	if code != 1 || stderr != "" {
		t.Errorf("exit code %d, %s", code, stderr)
	}
	lines := strings.Split(stdout, "\n")
	at := slices.IndexFunc(lines,
		func(s string) bool { return strings.HasPrefix(s, "  FAIL  health           GPU 3: ") })
	if at < 0 || !strings.HasPrefix(lines[at+1], strings.Repeat(" ", 22)+"→  look for XID 79") ||
		!strings.Contains(stdout, "\na job would not start well: ") {
		t.Errorf("%s", stdout)
	}
	if strings.Contains(stdout, "\x1b") {
		t.Error("colours, and no terminal")
	}
}

func TestDiagnosisIsSafeAndFits(t *testing.T) {
	results := []doctor.Result{
		{Area: "gpus", Check: "busy", Status: doctor.Warn, Found: "\x1b[2J\u202e by \x9b " +
			strings.Repeat("word ", 40), Remedy: "do\x07 " + strings.Repeat("this ", 40)},
		{Area: "gpus", Check: "mig", Status: doctor.Unknown, Found: "who knows"},
		{Area: "gpus", Check: "health", Status: doctor.Fail, Found: "bad", Remedy: "good"},
	}
	var b strings.Builder
	if err := printDiagnosis(&b, results, terminal.Style{Width: 60, Color: true}); err != nil {
		t.Fatal(err)
	}
	text := b.String()
	const red, yellow, plain = "\x1b[31m", "\x1b[33m", "\x1b[0m" // ECMA-48, 8.3.117 (SGR)
	for _, want := range []string{"  " + yellow + "warn" + plain + "  busy", "  " + yellow +
		"?   " + plain + "  mig", "  " + red + "FAIL" + plain + "  health"} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in:\n%s", want, text)
		}
	}
	bare := strings.NewReplacer(red, "", yellow, "", plain, "").Replace(text)
	for line := range strings.Lines(bare) {
		if n := terminal.Width(strings.TrimSuffix(line, "\n")); n > 60 &&
			!strings.HasPrefix(line, "a job") {
			t.Errorf("%d columns: %s", n, line)
		}
	}
	for _, r := range bare {
		if r != '\n' && (r < ' ' || r >= 0x7f && r < 0xa0 || r == 0x202e) {
			t.Errorf("%U is printed", r)
		}
	}
}
