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

	"github.com/gpulaunch/gpulaunch/gpu/nvml/nvmltest"
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
		j := launchertest.Start(b, nil, append([]string{"run", "--nproc-per-node=8"},
			launchertest.Worker("block")...)...)
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
	keeper := launchertest.Median(with) - launchertest.Median(without)
	b.ReportMetric(float64(keeper.Microseconds())/1000, "keeper-ms")
}

func superviseDirectly(b *testing.B) time.Duration {
	b.Helper()
	ours, theirs := launchertest.ListeningLink(b)
	defer ours.Close() // there may be thousands
	begin := time.Now()
	cmd := exec.Command(launchertest.Binary, "supervise", "3",
		strconv.FormatInt(begin.UnixNano(), 10), "-q",
		"--metrics-address=127.0.0.1:0", "--nproc-per-node=1", "/bin/true")
	cmd.ExtraFiles = []*os.File{theirs}
	err := cmd.Run()
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
				nvmltest.NotOnThisMachine(b, "the kernel has no schedstat: "+err.Error())
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

// BenchmarkLaunch compares the whole of gpulaunch run with a plain fork and exec loop and,
// if it is installed, with MPICH's process manager hydra. Each round measures all of them, so
// that their ratios are those of one moment.
//
// The parts of a launch, for which the budget is, come from the launcher's own debug lines
// in rounds of their own. For one worker of /bin/true on two cores (AMD EPYC, virtual), a
// part may cost, in milliseconds:
//
//	keeper        2.2   from exec of the command to the start of the second process
//	supervisor    4.0   to its first goroutine: exec, dynamic linking, Go's runtime, and the
//	                    packages that are initialised before it
//	plan          1.5   flags, machine, plan
//	first worker  1.6   the job's folder and control group, fork and exec
//	all workers   0.5   for each further worker, to its fork
//	run           0.6   what is left of the last worker's time, and to learn of its end
//	exit          2.0   cleaning up, the end of both processes
//
// Of these 12, two empty Go programs that are linked with libc take 4.3. A feature that needs
// time on this path has to find it in its part.
func BenchmarkLaunch(b *testing.B) {
	for _, n := range []int{1, 8, 32, 128, 512} {
		b.Run(fmt.Sprintf("workers=%d", n), func(b *testing.B) {
			hydra, _ := exec.LookPath("mpiexec.hydra")
			var ours, floor, theirs []time.Duration
			parts := map[string][]time.Duration{}
			for b.Loop() {
				floor = append(floor, launchertest.ForkExec(b, n, "/bin/true"))
				ours = append(ours, launchertest.Launch(b, n, "/bin/true"))
				timeline(b, n, parts)
				if hydra != "" {
					theirs = append(theirs, launchertest.Run(b, hydra, "-n", strconv.Itoa(n),
						"/bin/true"))
				}
			}
			o, f := launchertest.Median(ours), launchertest.Median(floor)
			milliseconds(b, ours, "launch-ms")
			milliseconds(b, floor, "floor-ms")
			b.ReportMetric(float64(o)/float64(f), "launch/floor")
			if hydra != "" {
				milliseconds(b, theirs, "hydra-ms")
				b.ReportMetric(float64(o)/float64(launchertest.Median(theirs)), "launch/hydra")
			}
			for name, list := range parts {
				milliseconds(b, list, name+"-ms")
			}
		})
	}
}

// debugTime is the time of a debug line since the command was started.
var debugTime = `debug: \+([\d.]+)s `

// timeline adds what each part of a launch took.
func timeline(b *testing.B, n int, parts map[string][]time.Duration) {
	b.Helper()
	begin := time.Now()
	out, err := exec.Command(launchertest.Binary, "run", "-q", "--debug",
		"--metrics-address=127.0.0.1:0", "--nproc-per-node="+strconv.Itoa(n),
		"/bin/true").CombinedOutput()
	end := time.Now()
	if err != nil {
		b.Fatalf("%v\n%s", err, out)
	}
	find := func(pattern string) string {
		m := regexp.MustCompile(pattern).FindSubmatch(out)
		if m == nil {
			b.Fatalf("no %q in\n%s", pattern, out)
		}
		return string(m[1])
	}
	forked, err := time.Parse(time.RFC3339Nano, find(`this command began at (\S+),`))
	if err != nil {
		b.Fatal(err)
	}
	at := begin
	part := func(name string, until time.Time) {
		parts[name] = append(parts[name], until.Sub(at))
		at = until
	}
	since := func(pattern string) time.Time {
		d, err := time.ParseDuration(find(pattern) + "s")
		if err != nil {
			b.Fatal(err)
		}
		return forked.Add(d)
	}
	part("keeper", forked)
	part("supervisor", since(`the job's process (?:.*) after ([\d.]+)s`))
	part("plan", since(debugTime+"planned"))
	part("first-worker", since(debugTime+"attempt 0: start of rank 0"))
	part("all-workers", since(debugTime+"attempt 0: end of starting"))
	part("run", since(debugTime+"attempt 0: .* → over"))
	part("exit", end)
}
