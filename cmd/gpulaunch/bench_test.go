//go:build linux

package main

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/gpulaunch/gpulaunch/launcher/launchertest"
)

// milliseconds reports the median of a list.
func milliseconds(b *testing.B, list []time.Duration, unit string) {
	b.ReportMetric(float64(launchertest.Median(list).Microseconds())/1000, unit)
}

// BenchmarkGangStop measures from one worker's death to that of all others,
// eight workers that honour SIGTERM.
func BenchmarkGangStop(b *testing.B) {
	var took []time.Duration
	for b.Loop() {
		j := launchertest.StartCommand(b, nil, nil,
			job(append([]string{"--nproc-per-node=8"}, launchertest.Worker("block")...)...)...)
		pids := j.Await(8, `ready (\d+)`)
		var pidfds []int
		for _, text := range pids {
			pid, _ := strconv.Atoi(text)
			fd, err := unix.PidfdOpen(pid, 0)
			if err != nil {
				b.Fatal(err)
			}
			pidfds = append(pidfds, fd)
		}
		begin := time.Now()
		if err := unix.PidfdSendSignal(pidfds[0], unix.SIGKILL, nil, 0); err != nil {
			b.Fatal(err)
		}
		for _, fd := range pidfds {
			for {
				if n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}},
					-1); n == 1 && err == nil {
					break
				}
			}
			unix.Close(fd)
		}
		took = append(took, time.Since(begin))
		j.Exit()
	}
	milliseconds(b, took, "all-dead-ms")
}

// BenchmarkKeeper compares a whole launch with one whose supervisor this test
// starts itself, in the keeper's place. Each round measures both.
func BenchmarkKeeper(b *testing.B) {
	var with, without []time.Duration
	for b.Loop() {
		with = append(with, launchertest.Launch(b, 1, "/bin/true"))
		without = append(without, superviseDirectly(b))
	}
	milliseconds(b, with, "with-ms")
	milliseconds(b, without, "without-ms")
	b.ReportMetric(float64((launchertest.Median(with)-launchertest.Median(without)).Microseconds())/1000, "keeper-ms")
}

func superviseDirectly(b *testing.B) time.Duration {
	b.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		b.Fatal(err)
	}
	ours, theirs := os.NewFile(uintptr(fds[0]), "keeper"), os.NewFile(uintptr(fds[1]), "supervisor")
	defer ours.Close()
	begin := time.Now()
	cmd := exec.Command(launchertest.Binary, "supervise", "3", "-q",
		"--metrics-address=127.0.0.1:0", "--nproc-per-node=1", "/bin/true")
	cmd.ExtraFiles = []*os.File{theirs}
	err = cmd.Run()
	took := time.Since(begin)
	theirs.Close()
	if err != nil {
		b.Fatal(err)
	}
	return took
}

// BenchmarkIdle looks at the processor time of the launcher's two processes over
// ten seconds of eight workers that do nothing, metrics on. Run it with
// -benchtime 1x.
func BenchmarkIdle(b *testing.B) {
	const span = 10 * time.Second
	for b.Loop() {
		j := launchertest.StartCommand(b, nil, nil,
			append([]string{launchertest.Binary, "run", "--metrics-address=127.0.0.1:0",
				"--nproc-per-node=8"}, launchertest.Worker("block")...)...)
		j.Await(8, "ready")
		pids := []int{j.Keeper(), j.Supervisor()}
		before := processorTime(b, pids)
		<-time.After(span)
		used := processorTime(b, pids) - before
		b.ReportMetric(100*used.Seconds()/span.Seconds(), "%core")
		j.Signal(unix.SIGTERM)
		j.Exit()
	}
}

// processorTime sums what processes have run so far, in nanoseconds as the
// scheduler counts them (the first field of /proc/PID/task/TID/schedstat).
func processorTime(b *testing.B, pids []int) (sum time.Duration) {
	b.Helper()
	for _, pid := range pids {
		tasks, err := os.ReadDir("/proc/" + strconv.Itoa(pid) + "/task")
		if err != nil {
			b.Fatal(err)
		}
		for _, task := range tasks {
			data, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/task/" + task.Name() +
				"/schedstat")
			if err != nil {
				b.Skipf("no schedstat here: %v", err)
			}
			n, err := strconv.ParseInt(strings.Fields(string(data))[0], 10, 64)
			if err != nil {
				b.Fatal(err)
			}
			sum += time.Duration(n)
		}
	}
	return sum
}

// BenchmarkMemory looks at the launcher's two processes while eight workers run
// and metrics are served.
func BenchmarkMemory(b *testing.B) {
	for b.Loop() {
		j := launchertest.Start(b, nil, append([]string{"run", "--nproc-per-node=8",
			"--metrics-address=127.0.0.1:0"}, launchertest.Worker("block")...)...)
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
		mib := func(pid int, fields ...string) float64 {
			return launchertest.Memory(b, pid, fields...) / (1 << 20)
		}
		b.ReportMetric(mib(supervisor, "Rss"), "supervisor-rss-MiB")
		b.ReportMetric(mib(keeper, "Rss"), "keeper-rss-MiB")
		b.ReportMetric(mib(keeper, "Private_Clean", "Private_Dirty"), "keeper-private-MiB")
		b.ReportMetric(mib(keeper, "Pss")+mib(supervisor, "Pss"), "both-pss-MiB")
		j.Signal(unix.SIGTERM)
		j.Exit()
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
