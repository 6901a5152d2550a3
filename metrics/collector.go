package metrics

import (
	"strconv"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/gpulaunch/gpulaunch/gpu"
)

func desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("gpulaunch_"+name, help, labels, nil)
}

// The series. A figure that the card, the driver or the kernel does not give is
// left out rather than shown as 0.
var (
	buildInfo = desc("build_info", "Always 1; the labels say which launcher this is.", "version",
		"goversion")
	jobInfo = desc("job_info",
		"Always 1; the labels say what the job is: mode is gpu or cpu, gpu_source where the GPUs "+
			"were found.",
		"mode", "run_id", "gpu_source", "affinity", "node_rank")
	startTime = desc("start_time_seconds", "When the launcher started, in seconds since the epoch.")
	restarts  = desc("restarts_total", "How often all workers were started again after a failure.")

	templateImport = desc("template_import_seconds",
		"How long the template process took to import the preloaded modules.")
	templateShared = desc("template_shared_memory_bytes",
		"Memory that the preloaded modules filled and that workers share with the template until "+
			"they write to it.")

	workerInfo = desc("worker_info",
		"Always 1; the labels say what the worker owns: its device (empty for a CPU-only worker) "+
			"and its CPUs.",
		"rank", "local_rank", "gpu", "uuid", "cpus")
	workerState = desc("worker_state",
		"1 for the state that the worker is in, 0 for the others.", "rank", "state")
	workerStart = desc("worker_start_time_seconds",
		"When the worker was last started, in seconds since the epoch.", "rank")
	workerCPU = desc("worker_cpu_seconds_total",
		"User and system time of the worker and the children it waited for, over all restarts.",
		"rank")
	workerResident = desc("worker_resident_memory_bytes",
		"Resident memory of the worker's process.", "rank")
	workerWithin = desc("worker_within_cpus",
		"1 while the worker has its planned CPUs, 0 when a thread may run elsewhere or some may "+
			"not be used any more.", "rank")
	workerExits = desc("worker_exits_total",
		"How often the worker ended, by exit code and signal (one of them is empty).", "rank",
		"code", "signal")
	workerRestarts = desc("worker_restarts_total", "How often the worker was started again.",
		"rank")

	gpuInfo = desc("gpu_info", "Always 1; the labels say which GPU it is.", "gpu", "uuid",
		"name", "pci_bus_id")
	gpuTotal = desc("gpu_memory_total_bytes", "Memory of the GPU.", "gpu", "uuid")
	gpuUsed  = desc("gpu_memory_used_bytes", "Memory of the GPU that is in use.", "gpu", "uuid")
	gpuUtil  = desc("gpu_utilization_ratio",
		"Part of the driver's last sample period in which a kernel ran, from 0 to 1.", "gpu",
		"uuid")
	gpuMemUtil = desc("gpu_memory_utilization_ratio",
		"Part of the driver's last sample period in which memory was read or written, from 0 to 1.",
		"gpu", "uuid")
	gpuTemp  = desc("gpu_temperature_celsius", "Temperature of the GPU's die.", "gpu", "uuid")
	gpuPower = desc("gpu_power_watts", "Power that the GPU draws.", "gpu", "uuid")
	gpuLimit = desc("gpu_power_limit_watts", "Power that the GPU may draw at most.", "gpu",
		"uuid")
	gpuSM = desc("gpu_sm_clock_hertz", "Clock of the streaming multiprocessors.", "gpu",
		"uuid")
	gpuMemClock = desc("gpu_memory_clock_hertz", "Clock of the memory.", "gpu", "uuid")
	gpuProcs    = desc("gpu_compute_processes", "Processes with a compute context on the GPU.",
		"gpu", "uuid")
	gpuUp = desc("gpu_up", "1 when the GPU answered the last time it was asked.", "gpu",
		"uuid")
	gpuFailures = desc("gpu_sample_failures_total",
		"How often the GPUs were asked for figures and gave none in time.")
	gpuXIDs = desc("gpu_xid_events_total",
		"How often the driver reported an error of the GPU, by its XID and whom that concerns: "+
			"application, fatal (the GPU) or other. XIDs behind the 256th series are counted as "+
			"other.", "gpu", "uuid", "xid", "class")
	gpuEvents = desc("gpu_events_total",
		"How often the driver reported something else of the GPU.", "gpu", "uuid", "kind")
	gpuSampled = desc("gpu_sample_time_seconds",
		"When the GPUs' figures were read, in seconds since the epoch.")
)

// The states of worker_state.
const (
	waiting   = "waiting"   // not started yet
	running   = "running"   //
	succeeded = "succeeded" // ended with code 0
	failed    = "failed"    // ended otherwise
)

var states = []string{waiting, running, succeeded, failed}

// Describe sends nothing, which makes the collector an unchecked one: which
// series there are depends on the machine.
func (r *Recorder) Describe(chan<- *prometheus.Desc) {}

// Collect sends what is known now. It reads no file and calls no library.
func (r *Recorder) Collect(ch chan<- prometheus.Metric) {
	r.mu.Lock()
	defer r.mu.Unlock()
	o := scrape{ch}
	o.gauge(buildInfo, 1, r.build.Version, r.build.GoVersion)
	o.gauge(startTime, seconds(r.started))
	o.counter(restarts, float64(r.restarts))
	if p := r.plan; p != nil {
		o.gauge(jobInfo, 1, p.Mode, p.RunID, r.inventory.Source, p.Affinity.String(),
			strconv.Itoa(p.NodeRank))
	}
	if t := r.template; t != nil {
		o.gauge(templateImport, t.ImportSeconds)
		if t.SharedBytes > 0 {
			o.gauge(templateShared, float64(t.SharedBytes))
		}
	}
	for _, rank := range r.ranks() {
		r.workers[rank].collect(o, strconv.Itoa(rank), r.restarts)
	}
	r.collectGPUs(o)
}

func (w *worker) collect(o scrape, rank string, restarted int) {
	index, uuid := "", ""
	if d := w.plan.Device; d != nil {
		index, uuid = strconv.Itoa(d.Index), d.UUID
	}
	o.gauge(workerInfo, 1, rank, strconv.Itoa(w.plan.LocalRank), index, uuid, w.plan.CPUs.String())
	now := w.state()
	for _, s := range states {
		o.gauge(workerState, zeroOrOne(s == now), rank, s)
	}
	o.counter(workerRestarts, float64(restarted), rank)
	o.counter(workerCPU, (w.pastCPU + w.cpu).Seconds(), rank)
	if !w.started.IsZero() {
		o.gauge(workerStart, seconds(w.started), rank)
	}
	if w.resident > 0 {
		o.gauge(workerResident, float64(w.resident), rank)
	}
	if w.within != nil {
		o.gauge(workerWithin, zeroOrOne(*w.within), rank)
	}
	for exit, n := range w.exits {
		code, signal := strconv.Itoa(exit.Code), ""
		if exit.Signal != "" {
			code, signal = "", exit.Signal
		}
		o.counter(workerExits, float64(n), rank, code, signal)
	}
}

func (w *worker) state() string {
	switch {
	case w.pid != 0:
		return running
	case w.started.IsZero() || w.ended == nil:
		return waiting
	case w.ended.OK():
		return succeeded
	}
	return failed
}

func (r *Recorder) collectGPUs(o scrape) {
	o.counter(gpuFailures, float64(r.gpuFailures))
	for _, d := range r.inventory.Devices {
		o.gauge(gpuInfo, 1, strconv.Itoa(d.Index), d.UUID, d.Name, d.PCIBusID)
	}
	r.collectEvents(o)
	if !r.gpuSampled {
		return
	}
	o.gauge(gpuSampled, seconds(r.gpuSample.Time))
	for _, d := range r.gpuSample.Devices {
		collectGPU(o, d)
	}
}

func collectGPU(o scrape, d gpu.DeviceSample) {
	labels := []string{strconv.Itoa(d.Index), d.UUID}
	o.gauge(gpuUp, zeroOrOne(d.Problem == ""), labels...)
	o.bytes(gpuTotal, d.MemoryTotalBytes, labels)
	o.bytes(gpuUsed, d.MemoryUsedBytes, labels)
	o.optional(gpuUtil, d.Utilization, labels)
	o.optional(gpuMemUtil, d.MemoryUtilization, labels)
	o.optional(gpuTemp, d.TemperatureCelsius, labels)
	o.optional(gpuPower, d.PowerWatts, labels)
	o.optional(gpuLimit, d.PowerLimitWatts, labels)
	o.optional(gpuSM, d.SMClockHertz, labels)
	o.optional(gpuMemClock, d.MemoryClockHertz, labels)
	if d.Problem == "" {
		o.gauge(gpuProcs, float64(len(d.Processes)), labels...)
	}
}
