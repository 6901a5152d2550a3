// Package metrics tells Prometheus about a job.
//
// A [Recorder] is told what happens (Observe, for the launcher's events; the
// figures of GPUs and processes it reads itself, in the background, with Run) and
// gives a scrape what it knows at that moment. A scrape touches neither NVML nor
// /proc, so it is quick and can neither hang nor disturb the job.
//
// Names and units follow https://prometheus.io/docs/practices/naming/. Every name
// begins with gpulaunch_; a series of a worker carries its rank, a series of a
// GPU its index in PCI order and its UUID.
package metrics
