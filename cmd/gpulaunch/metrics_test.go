//go:build linux

package main

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/gpulaunch/gpulaunch/cmd/gpulaunch/run"
	"github.com/gpulaunch/gpulaunch/gpu/nvml/nvmltest"
	"github.com/gpulaunch/gpulaunch/launcher/launchertest"
)

// scrape asks for the metrics until they hold all of want, as Prometheus would
// ask again.
func scrape(t *testing.T, url string, want ...string) (body string) {
	t.Helper()
	err := launchertest.Retry(launchertest.Patience, 50*time.Millisecond, func() error {
		response, err := http.Get(url)
		if err != nil {
			return err
		}
		defer response.Body.Close()
		data, err := io.ReadAll(response.Body)
		if err != nil {
			return err
		}
		body = string(data)
		for _, w := range want {
			if !regexp.MustCompile("(?m)^" + w).MatchString(body) {
				return fmt.Errorf("%s does not hold %s:\n%s", url, w, body)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return body
}

func TestMetricsOfARunningJob(t *testing.T) {
	library := nvmltest.Install(t, nvmltest.EightGPUs([]uint64{1}, []uint64{1}))
	j := launchertest.Start(t, nil, append([]string{"run", "--nvml-library=" + library,
		"--metrics-address=127.0.0.1:0"}, launchertest.Worker("block")...)...)
	pids := j.Await(8, `ready (\d+)`)
	stderr := j.AwaitStderr("metrics are on ")
	url := regexp.MustCompile(`http://\S+`).FindString(stderr)

	body := scrape(t, url,
		`gpulaunch_build_info\{.*\} 1`,
		`gpulaunch_job_info\{.*mode="gpu".*\} 1`,
		`gpulaunch_worker_state\{rank="7",state="running"\} 1`,
		`gpulaunch_worker_start_time_seconds\{rank="0"\} \d`,
		`gpulaunch_worker_cpu_seconds_total\{rank="3"\} \d`,
		`gpulaunch_worker_resident_memory_bytes\{rank="3"\} [1-9]`,
		`gpulaunch_gpu_memory_used_bytes\{gpu="0",uuid="GPU-a0000000-1111-2222-3333-000000000000"\} 3.221225472e\+09`,
		`gpulaunch_gpu_utilization_ratio\{gpu="7",.*\} 0.17`,
		`gpulaunch_gpu_temperature_celsius\{gpu="1",.*\} 31`,
		`gpulaunch_gpu_power_watts\{gpu="0",.*\} 100`,
		`gpulaunch_gpu_sm_clock_hertz\{gpu="0",.*\} 1.5e\+09`,
		`gpulaunch_worker_info\{cpus="\d.*",gpu="5",local_rank="5",rank="5",uuid="GPU-a0000005.*"\} 1`,
		`gpulaunch_restarts_total 0`,
	)
	t.Run("promtool", func(t *testing.T) {
		promtool, err := exec.LookPath("promtool")
		if err != nil {
			nvmltest.Unavailable(t, "promtool is not here: install prometheus")
		}
		check := exec.Command(promtool, "check", "metrics")
		check.Stdin = strings.NewReader(body)
		if out, err := check.CombinedOutput(); err != nil || len(out) > 0 {
			t.Errorf("promtool check metrics: %v\n%s", err, out)
		}
	})
	j.Signal(unix.SIGTERM)
	if code, stderr := j.Exit(); code != 143 {
		t.Errorf("exit code %d\n%s", code, stderr)
	}
	launchertest.Gone(t, pids...)
}

func TestMetricsAddressTaken(t *testing.T) {
	l, err := net.Listen("tcp", run.DefaultMetricsAddress)
	if err != nil {
		nvmltest.Unavailable(t,
			"the default address "+run.DefaultMetricsAddress+" is in use here already")
	}
	defer l.Close()

	// Without a flag: a warning, and the job runs.
	cmd := exec.Command(launchertest.Binary, "run", "--nproc-per-node=1", "echo", "ran")
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "ran") ||
		!strings.Contains(string(out), "cannot serve metrics on "+run.DefaultMetricsAddress) {
		t.Errorf("default address: %v\n%s", err, out)
	}
	// Named, it has to be had.
	j := launchertest.Start(t, nil, "run", "--nproc-per-node=1",
		"--metrics-address="+run.DefaultMetricsAddress, "echo", "ran")
	code, stderr := j.Exit()
	if stdout, _ := j.Output(); code != 125 || stdout != "" ||
		!strings.Contains(stderr, "address already in use") {
		t.Errorf("named address: exit code %d, stdout %q, stderr %q", code, stdout, stderr)
	}
}

// TestMetricsUnderAttack holds more connections to a job than it may have descriptors. It can still
// be scraped, and its workers can be restarted.
func TestMetricsUnderAttack(t *testing.T) {
	argv := append([]string{"sh", "-c", `ulimit -n 128 && exec "$@"`, "sh", launchertest.Binary,
		"run", "--nproc-per-node=4", "--max-restarts=1", "--restart-delay=0",
		"--metrics-address=127.0.0.1:0"}, launchertest.Worker("block")...)
	j := launchertest.StartCommand(t, nil, nil, argv...)
	pids := j.Await(4, `ready (\d+)`)
	url := regexp.MustCompile(`http://\S+`).FindString(j.AwaitStderr("metrics are on "))
	address := strings.TrimSuffix(strings.TrimPrefix(url, "http://"), "/metrics")
	scrape(t, url, `gpulaunch_restarts_total 0`)
	attack := func() {
		for i := range 300 {
			conn, err := net.Dial("tcp", address)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { conn.Close() })
			if i%3 == 0 {
				fmt.Fprint(conn, "GET /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n")
			}
		}
	}
	attack()
	scrape(t, url, `gpulaunch_restarts_total 0`)
	attack()
	pid, _ := strconv.Atoi(pids[0])
	if err := unix.Kill(pid, unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	j.Await(4, `ready (\d+)`)
	scrape(t, url, `gpulaunch_restarts_total 1`)
	j.Signal(unix.SIGTERM)
	if code, stderr := j.Exit(); code != 143 || strings.Contains(stderr, "too many open files") {
		t.Errorf("exit code %d\n%s", code, stderr)
	}
}
