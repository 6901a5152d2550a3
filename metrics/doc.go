// Package metrics tells Prometheus about a job.
//
// [NewRecorder] makes a [Recorder], which is a prometheus.Collector: its Observe takes the
// launcher's events (launcher.Config.Observe), and a scrape gets what it knows at that
// moment. It asks nobody, so a scrape touches neither NVML nor /proc, is quick, and can
// neither hang nor disturb the job. [Serve] serves a Recorder over HTTP, with limits for what
// a client may take.
//
// Names and units follow https://prometheus.io/docs/practices/naming/. Every name begins
// with gpulaunch_; a series of a worker carries its rank, a series of a GPU its index in
// PCI order and its UUID.
//
// Goroutines: a Server has one that accepts connections and one per connection; all end
// with Close.
package metrics
