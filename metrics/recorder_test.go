package metrics

import (
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"go.uber.org/goleak"

	"github.com/gpulaunch/gpulaunch/affinity"
	"github.com/gpulaunch/gpulaunch/gpu"
	"github.com/gpulaunch/gpulaunch/launcher"
	"github.com/gpulaunch/gpulaunch/launcher/plan"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func pointer[T any](v T) *T { return &v }

// exampleJob is a job of two workers, one of which fails, is started again and ends.
func exampleJob() *Recorder {
	r := NewRecorder(Build{"v1", "go1"}, time.Unix(1000, 0), gpu.Inventory{Source: gpu.SourceNVML,
		Devices: []gpu.Device{
			{UUID: "GPU-0", Name: "A", PCIBusID: "0000:01:00.0"},
			{Index: 1, UUID: "GPU-1", Name: "A", PCIBusID: "0000:02:00.0"},
		}})
	plan := &plan.Plan{Mode: "gpu", RunID: "r", Affinity: affinity.Policy{Mode: affinity.ModeNode},
		Workers: []plan.Worker{
			{CPUs: affinity.CPUs(0, 1), Device: &plan.Device{UUID: "GPU-0"}},
			{Rank: 1, LocalRank: 1, CPUs: affinity.CPUs(2),
				Device: &plan.Device{Index: 1, UUID: "GPU-1"}},
		}}
	for _, e := range []launcher.Event{
		{Kind: launcher.JobStarted, Plan: plan},
		{Kind: launcher.WorkerStarted, Rank: 0, PID: 100, Time: time.Unix(1001, 0)},
		{Kind: launcher.WorkerStarted, Rank: 1, PID: 101, Time: time.Unix(1001, 0)},
		{Kind: launcher.WorkerExited, Rank: 1, PID: 101, Exit: launcher.ExitStatus{Code: 3},
			CPU: 2 * time.Second},
		{Kind: launcher.WorkerExited, Rank: 0, PID: 100, Exit: launcher.ExitStatus{Code: 143,
			Signal: "SIGTERM"}, CPU: time.Second},
		{Kind: launcher.JobRestarting, Plan: plan},
		{Kind: launcher.WorkerStarted, Rank: 0, PID: 200, Time: time.Unix(1010, 0)},
		{Kind: launcher.WorkerStarted, Rank: 1, PID: 201, Time: time.Unix(1010, 0)},
		{Kind: launcher.WorkerExited, Rank: 0, PID: 200, CPU: 5 * time.Second},
		{Kind: launcher.WorkerSampled, Rank: 1, PID: 201, CPU: 4 * time.Second,
			ResidentBytes: 4096},
		// it has ended: not its figures
		{Kind: launcher.WorkerSampled, Rank: 0, PID: 200, CPU: time.Hour, ResidentBytes: 1},
	} {
		r.Observe(e)
	}
	return r
}

func TestWorkers(t *testing.T) {
	want := `
# HELP gpulaunch_restarts_total How often all workers were started again after a failure.
# TYPE gpulaunch_restarts_total counter
gpulaunch_restarts_total 1
# HELP gpulaunch_start_time_seconds When the launcher started, in seconds since the epoch.
# TYPE gpulaunch_start_time_seconds gauge
gpulaunch_start_time_seconds 1000
# HELP gpulaunch_worker_cpu_seconds_total User and system time of the worker and the children it waited for, over all restarts.
# TYPE gpulaunch_worker_cpu_seconds_total counter
gpulaunch_worker_cpu_seconds_total{rank="0"} 6
gpulaunch_worker_cpu_seconds_total{rank="1"} 6
# HELP gpulaunch_worker_exits_total How often the worker ended, by exit code and signal (one of them is empty).
# TYPE gpulaunch_worker_exits_total counter
gpulaunch_worker_exits_total{code="",rank="0",signal="SIGTERM"} 1
gpulaunch_worker_exits_total{code="0",rank="0",signal=""} 1
gpulaunch_worker_exits_total{code="3",rank="1",signal=""} 1
# HELP gpulaunch_worker_resident_memory_bytes Resident memory of the worker's process.
# TYPE gpulaunch_worker_resident_memory_bytes gauge
gpulaunch_worker_resident_memory_bytes{rank="1"} 4096
# HELP gpulaunch_worker_start_time_seconds When the worker was last started, in seconds since the epoch.
# TYPE gpulaunch_worker_start_time_seconds gauge
gpulaunch_worker_start_time_seconds{rank="0"} 1010
gpulaunch_worker_start_time_seconds{rank="1"} 1010
# HELP gpulaunch_worker_state 1 for the state that the worker is in, 0 for the others.
# TYPE gpulaunch_worker_state gauge
gpulaunch_worker_state{rank="0",state="failed"} 0
gpulaunch_worker_state{rank="0",state="running"} 0
gpulaunch_worker_state{rank="0",state="succeeded"} 1
gpulaunch_worker_state{rank="0",state="waiting"} 0
gpulaunch_worker_state{rank="1",state="failed"} 0
gpulaunch_worker_state{rank="1",state="running"} 1
gpulaunch_worker_state{rank="1",state="succeeded"} 0
gpulaunch_worker_state{rank="1",state="waiting"} 0
`
	err := testutil.CollectAndCompare(exampleJob(), strings.NewReader(want), "gpulaunch_restarts_total",
		"gpulaunch_start_time_seconds",
		"gpulaunch_worker_cpu_seconds_total", "gpulaunch_worker_exits_total",
		"gpulaunch_worker_resident_memory_bytes",
		"gpulaunch_worker_start_time_seconds", "gpulaunch_worker_state")
	if err != nil {
		t.Error(err)
	}
}

// TestExitsAreCountedByTheirLabels: a core file is no label, so it makes no
// series of its own.
func TestExitsAreCountedByTheirLabels(t *testing.T) {
	r := exampleJob()
	for _, core := range []bool{true, false, true} {
		r.Observe(launcher.Event{Kind: launcher.WorkerExited, Rank: 0,
			Exit: launcher.ExitStatus{Code: 139, Signal: "SIGSEGV", Core: core}})
	}
	want := `
# HELP gpulaunch_worker_exits_total How often the worker ended, by exit code and signal (one of them is empty).
# TYPE gpulaunch_worker_exits_total counter
gpulaunch_worker_exits_total{code="",rank="0",signal="SIGSEGV"} 3
gpulaunch_worker_exits_total{code="",rank="0",signal="SIGTERM"} 1
gpulaunch_worker_exits_total{code="0",rank="0",signal=""} 1
gpulaunch_worker_exits_total{code="3",rank="1",signal=""} 1
`
	if err := testutil.CollectAndCompare(r, strings.NewReader(want),
		"gpulaunch_worker_exits_total"); err != nil {
		t.Error(err)
	}
}

func TestGPUs(t *testing.T) {
	r := exampleJob()
	r.Observe(launcher.Event{Kind: launcher.GPUsSampled, GPUs: &gpu.Sample{Time: time.Unix(2000, 0),
		Devices: []gpu.DeviceSample{
			{Index: 0, UUID: "GPU-0", MemoryUsedBytes: pointer(uint64(7)),
				Utilization: pointer(0.5)},
			{Index: 1, UUID: "GPU-1", Problem: "lost"},
		}}})
	want := `
# HELP gpulaunch_gpu_memory_used_bytes Memory of the GPU that is in use.
# TYPE gpulaunch_gpu_memory_used_bytes gauge
gpulaunch_gpu_memory_used_bytes{gpu="0",uuid="GPU-0"} 7
# HELP gpulaunch_gpu_up 1 when the GPU answered the last time it was asked.
# TYPE gpulaunch_gpu_up gauge
gpulaunch_gpu_up{gpu="0",uuid="GPU-0"} 1
gpulaunch_gpu_up{gpu="1",uuid="GPU-1"} 0
# HELP gpulaunch_gpu_utilization_ratio Part of the driver's last sample period in which a kernel ran, from 0 to 1.
# TYPE gpulaunch_gpu_utilization_ratio gauge
gpulaunch_gpu_utilization_ratio{gpu="0",uuid="GPU-0"} 0.5
`
	names := []string{"gpulaunch_gpu_memory_used_bytes", "gpulaunch_gpu_up",
		"gpulaunch_gpu_utilization_ratio", "gpulaunch_gpu_power_watts"}
	if err := testutil.CollectAndCompare(r, strings.NewReader(want), names...); err != nil {
		t.Error(err)
	}
	// Figures that could not be read again are gone, not stale.
	r.Observe(launcher.Event{Kind: launcher.GPUsSilent, Text: "NVML hangs"})
	if n := testutil.CollectAndCount(r, names...); n != 0 {
		t.Errorf("%d stale series", n)
	}
}

// TestLint holds every series, with every optional figure, against Prometheus'
// own rules for names and units.
func TestLint(t *testing.T) {
	r := exampleJob()
	one, n := pointer(1.0), pointer(uint64(1))
	r.Observe(launcher.Event{Kind: launcher.GPUsSampled, GPUs: &gpu.Sample{Time: time.Unix(2000, 0),
		Devices: []gpu.DeviceSample{{
			MemoryUsedBytes: n, MemoryTotalBytes: n, Utilization: one, MemoryUtilization: one,
			TemperatureCelsius: one,
			PowerWatts:         one, PowerLimitWatts: one, SMClockHertz: one, MemoryClockHertz: one,
		}}}})
	problems, err := testutil.CollectAndLint(r)
	if err != nil || len(problems) > 0 {
		t.Errorf("%v %v", err, problems)
	}
	if n := testutil.CollectAndCount(r); n < 39 {
		t.Errorf("only %d series were looked at", n)
	}
}
