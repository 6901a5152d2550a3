package metrics_test

import (
	"context"
	"fmt"
	"log"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/gpulaunch/gpulaunch/gpu"
	"github.com/gpulaunch/gpulaunch/gpu/probe"
	"github.com/gpulaunch/gpulaunch/launcher"
	"github.com/gpulaunch/gpulaunch/launcher/machine"
	"github.com/gpulaunch/gpulaunch/launcher/plan"
	"github.com/gpulaunch/gpulaunch/metrics"
)

// This program runs a job, and serves the job's metrics beside its own in one registry.
func Example() {
	started := time.Now()
	inventory := probe.Discover(probe.Options{})
	recorder := metrics.NewRecorder(
		metrics.Build{Version: "my-trainer v1.4", GoVersion: runtime.Version()}, started, inventory)
	jobs := prometheus.NewCounter(prometheus.CounterOpts{
		Name: "trainer_jobs_total", Help: "How many jobs have ended.",
	})
	registry := prometheus.NewRegistry()
	registry.MustRegister(recorder, jobs, collectors.NewGoCollector())
	http.Handle("/metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))
	go func() { log.Fatal(http.ListenAndServe("127.0.0.1:9400", nil)) }()

	options := plan.Options{MaxRestarts: 3, Environ: os.Environ()}
	visible := inventory.Visible(os.LookupEnv("CUDA_VISIBLE_DEVICES"))
	here, err := machine.Read("", inventory, visible, options)
	if err != nil {
		log.Fatal(err)
	}
	job, err := plan.New(here, options)
	if err != nil {
		log.Fatal(err)
	}
	argv, err := launcher.Command{Args: []string{"train.py"}}.Resolve()
	if err != nil {
		log.Fatal(err)
	}
	result := launcher.Run(context.Background(), job,
		launcher.Config{Argv: argv, Inventory: inventory, Observe: recorder.Observe})
	jobs.Inc()
	fmt.Println("exit code", result.ExitCode)
}

// This program runs a job that is too short to be scraped, and leaves its metrics to the textfile
// collector of the node exporter.
func Example_textfile() {
	none := gpu.Inventory{Source: gpu.SourceNone, Reason: "no GPU is needed"}
	recorder := metrics.NewRecorder(metrics.Build{Version: "nightly-check"}, time.Now(), none)
	registry := prometheus.NewRegistry()
	registry.MustRegister(recorder)

	options := plan.Options{Workers: plan.Workers(2), Environ: os.Environ()}
	here, err := machine.Read("", none, none.Visible("", false), options)
	if err != nil {
		log.Fatal(err)
	}
	job, err := plan.New(here, options)
	if err != nil {
		log.Fatal(err)
	}
	argv, err := launcher.Command{Args: []string{"sh", "-c", `exit "$RANK"`}}.Resolve()
	if err != nil {
		log.Fatal(err)
	}
	launcher.Run(context.Background(), job, launcher.Config{
		Argv: argv, FailureWait: time.Minute, Observe: recorder.Observe,
	})

	folder, err := os.MkdirTemp("", "textfiles") // /var/lib/prometheus/node-exporter
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(folder)
	file := filepath.Join(folder, "nightly-check.prom")
	if err := prometheus.WriteToTextfile(file, registry); err != nil {
		log.Fatal(err)
	}
	text, err := os.ReadFile(file)
	if err != nil {
		log.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if strings.HasPrefix(line, "gpulaunch_worker_exits_total") {
			fmt.Print(line)
		}
	}
	// Output:
	// gpulaunch_worker_exits_total{code="0",rank="0",signal=""} 1
	// gpulaunch_worker_exits_total{code="1",rank="1",signal=""} 1
}
