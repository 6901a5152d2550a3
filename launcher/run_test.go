package launcher

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/gpulaunch/gpulaunch/affinity"
	"github.com/gpulaunch/gpulaunch/launcher/launchertest"
	"github.com/gpulaunch/gpulaunch/launcher/plan"
	"github.com/gpulaunch/gpulaunch/launcher/supervisor"
)

// pids returns the process ids that workers have printed as "ready PID".
func pids(stdout string) (list []string) {
	for _, m := range regexp.MustCompile(`ready (\d+)`).FindAllStringSubmatch(stdout, -1) {
		list = append(list, m[1])
	}
	return list
}

func TestSuccess(t *testing.T) {
	h := newHarness(t, "print", "out\n", "err\n")
	r := h.run(3)
	if r.ExitCode != 0 || r.Root() != nil || r.Err != nil || len(r.Workers) != 3 {
		t.Errorf("%+v", r)
	}
	if got := h.stdout.String(); strings.Count(got, "] out\n") != 3 ||
		len(got) != 3*len("[0] out\n") {
		t.Errorf("stdout %q", got)
	}
	if got := h.stderr.String(); strings.Count(got, "] err\n") != 3 {
		t.Errorf("stderr %q", got)
	}
	if len(r.Summary()) != 0 || len(h.logged) != 0 {
		t.Errorf("a success printed %q, logged %q", r.Summary(), h.logged)
	}
	if h.events[0].Kind != JobStarted || h.events[len(h.events)-1].Kind != JobEnded ||
		len(h.exits()) != 3 {
		t.Errorf("events %+v", h.events)
	}
}

func TestFirstFailureIsRootCause(t *testing.T) {
	for rank := range 3 {
		h := newHarness(t, "fail", strconv.Itoa(rank), "7")
		r := h.run(3)
		if r.ExitCode != 7 || r.Root() == nil || r.Root().Rank != rank || r.Root().Stopped() {
			t.Errorf("rank %d: %+v", rank, r)
		}
		for _, w := range r.Workers {
			if w.Rank != rank && (!w.Stopped() || !w.EndedBy(unix.SIGTERM)) {
				t.Errorf("rank %d: %s, stopped %v", rank, w, w.Stopped())
			}
		}
		launchertest.Gone(t, pids(h.stdout.String())...)
	}
}

func TestSignalIsRootCause(t *testing.T) {
	h := newHarness(t)
	// The Go runtime turns SIGABRT into an exit code. A shell is ended by it.
	h.cfg.Argv = []string{"/bin/sh", "-c", "kill -ABRT $$"}
	r := h.run(1)
	if r.ExitCode != 134 || r.Root() == nil || !strings.Contains(r.Root().String(),
		"terminated with signal SIGABRT") {
		t.Errorf("%+v", r)
	}
}

func TestStopWithinGrace(t *testing.T) {
	h := newHarness(t, "relay")
	h.whenPrinted(2, "ready", func() { h.sup.Request(supervisor.Request{Signal: unix.SIGTERM}) })
	r := h.run(2)
	// relay exits with 0 on SIGTERM. The job counts as stopped all the same.
	if r.ExitCode != 143 || r.Signal != "SIGTERM" || r.Root() != nil {
		t.Errorf("%+v", r)
	}
	for _, w := range r.Workers {
		if !w.OK() {
			t.Errorf("%s", w)
		}
	}
}

func TestKillAfterGracePeriod(t *testing.T) {
	h := newHarness(t, "ignore")
	h.cfg.Grace = time.Millisecond
	h.whenPrinted(2, "ready", func() { h.sup.Request(supervisor.Request{Signal: unix.SIGINT}) })
	r := h.run(2)
	if r.ExitCode != 130 {
		t.Errorf("%+v", r)
	}
	for _, w := range r.Workers {
		if !w.EndedBy(unix.SIGKILL) || !w.Stopped() {
			t.Errorf("%s", w)
		}
	}
}

func TestSecondRequestKills(t *testing.T) {
	h := newHarness(t, "ignore")
	h.cfg.Grace = 24 * time.Hour
	h.whenPrinted(2, "ready", func() {
		h.sup.Request(supervisor.Request{Signal: unix.SIGTERM})
		h.sup.Request(supervisor.Request{Signal: unix.SIGTERM, Kill: true})
	})
	if r := h.run(2); r.ExitCode != 143 {
		t.Errorf("%+v", r)
	}
}

// TestCtrlCIsOneRequest checks that one Ctrl-C is one request: the terminal sends SIGINT to both
// processes of the launcher, and the keeper forwards its own.
func TestCtrlCIsOneRequest(t *testing.T) {
	for name, order := range map[string][]supervisor.Request{
		"direct first":    {{Signal: unix.SIGINT, Direct: true}, {Signal: unix.SIGINT}},
		"forwarded first": {{Signal: unix.SIGINT}, {Signal: unix.SIGINT, Direct: true}},
		"direct often": {{Signal: unix.SIGINT, Direct: true},
			{Signal: unix.SIGINT, Direct: true}, {Signal: unix.SIGINT, Direct: true}},
	} {
		h := newHarness(t, "on-int", "20ms")
		h.whenPrinted(2, "ready", func() {
			for _, c := range order {
				h.sup.Request(c)
			}
		})
		r := h.run(2)
		for _, w := range r.Workers {
			if !w.OK() { // a second request would have killed it
				t.Errorf("%s: %s", name, w)
			}
		}
		if r.ExitCode != 130 {
			t.Errorf("%s: exit code %d", name, r.ExitCode)
		}
	}
}

func TestThirdRequestLeaves(t *testing.T) {
	h := newHarness(t, "ignore")
	h.cfg.Grace = 24 * time.Hour
	h.whenPrinted(2, "ready", func() {
		h.sup.Request(supervisor.Request{Signal: unix.SIGTERM})
		h.sup.Request(supervisor.Request{Signal: unix.SIGTERM, Quit: true})
	})
	r := h.run(2)
	if r.ExitCode != 143 {
		t.Errorf("%+v", r)
	}
	// In the command, the keeper does this.
	for _, text := range pids(h.stdout.String()) {
		if pid, err := strconv.Atoi(text); err == nil {
			_ = unix.Kill(pid, unix.SIGKILL)
		}
	}
	launchertest.Gone(t, pids(h.stdout.String())...)
}

// awaitResumption checks that a suspended job, which has one restart, does not go on before SIGCONT,
// and then ends well.
func (h *harness) awaitResumption(done <-chan Result) {
	h.t.Helper()
	select {
	case r := <-done:
		h.t.Fatalf("it ran to its end: %+v", r)
	case <-time.After(100 * time.Millisecond): // enough for an attempt, which must not begin
	}
	h.sup.Request(supervisor.Request{Signal: unix.SIGCONT})
	if r := <-done; r.ExitCode != 0 || r.Restarts != 1 {
		h.t.Errorf("%+v", r)
	}
}

// TestNothingStartsDuringSuspension checks that no attempt begins while the job is suspended.
func TestNothingStartsDuringSuspension(t *testing.T) {
	h := newHarness(t, "succeed-after", "1")
	acted := make(chan struct{})
	h.sup.Request(supervisor.Request{Signal: unix.SIGTSTP, Done: func() { close(acted) }})
	done := make(chan Result)
	go func() { done <- h.run(2, func(p *plan.Plan) { p.MaxRestarts = 1 }) }()
	<-acted
	h.awaitResumption(done)
}

// TestSuspensionAtTheEndOfPreloading checks that a template that is suspended when its imports are
// done forks workers after SIGCONT, which comes when no phase handles requests.
func TestSuspensionAtTheEndOfPreloading(t *testing.T) {
	script := filepath.Join(t.TempDir(), "script.py")
	if err := os.WriteFile(script, []byte("print('ran')"), 0o600); err != nil {
		t.Fatal(err)
	}
	h := newHarness(t)
	h.sweeping()
	h.cfg.StartMethod, h.cfg.Argv = StartForkserver, []string{launchertest.Python(t), "-u", script}
	suspended := make(chan struct{})
	h.cfg.Observe = func(e Event) {
		if e.Kind == TemplateReady { // within the phase, right before its end
			h.sup.Request(supervisor.Request{Signal: unix.SIGTSTP})
			close(suspended)
		}
	}
	done := make(chan Result)
	go func() { done <- h.run(1) }()
	<-suspended
	<-time.After(100 * time.Millisecond) // enough for the phase to end, so that none handles it
	h.sup.Request(supervisor.Request{Signal: unix.SIGCONT})
	select {
	case r := <-done:
		if r.ExitCode != 0 {
			t.Errorf("%+v", r)
		}
	case <-time.After(launchertest.Patience):
		t.Error("no worker was started")
		h.sup.Request(supervisor.Request{Signal: unix.SIGTERM, Kill: true})
		<-done
	}
}

func TestStoppedWorkerCanBeEnded(t *testing.T) {
	h := newHarness(t, "block")
	h.whenPrinted(1, "ready", func() {
		pid, _ := strconv.Atoi(pids(h.stdout.String())[0])
		if err := unix.Kill(pid, unix.SIGSTOP); err != nil {
			t.Error(err)
		}
		h.sup.Request(supervisor.Request{Signal: unix.SIGTERM})
	})
	if r := h.run(1); r.ExitCode != 143 || !r.Workers[0].EndedBy(unix.SIGTERM) {
		t.Errorf("%+v", r)
	}
}

func TestRestart(t *testing.T) {
	h := newHarness(t, "succeed-after", "2")
	r := h.run(2, func(p *plan.Plan) { p.MaxRestarts, p.FreePort = 2, true })
	if r.ExitCode != 0 || r.Restarts != 2 {
		t.Errorf("%+v", r)
	}
	h = newHarness(t, "succeed-after", "3")
	r = h.run(2, func(p *plan.Plan) { p.MaxRestarts, p.FreePort = 2, true })
	if r.ExitCode != 9 || r.Restarts != 2 ||
		!strings.Contains(r.Summary()[0], "2 restarts did not help") {
		t.Errorf("%+v %q", r, r.Summary())
	}
	// A program that cannot be started is not tried again.
	h = newHarness(t)
	h.cfg.Argv = []string{"/no/such/program"}
	if r := h.run(2, func(p *plan.Plan) { p.MaxRestarts = 5 }); r.ExitCode != 127 ||
		r.Restarts != 0 {
		t.Errorf("%+v", r)
	}
}

func TestStartFailures(t *testing.T) {
	words := filepath.Join(t.TempDir(), "words")
	if err := os.WriteFile(words, []byte("just words\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	for program, code := range map[string]int{"/no/such/program": 127, "/": 126, words: 126} {
		h := newHarness(t)
		h.cfg.Argv = []string{program}
		r := h.run(4)
		var start *StartError
		if r.ExitCode != code || !errors.As(r.Err, &start) || len(r.Workers) != 0 {
			t.Errorf("%s: %+v", program, r)
		}
	}
}

// TestOutOfDescriptors lets the job run out of descriptors between two workers. The first workers
// are stopped, and the message says what to do.
func TestOutOfDescriptors(t *testing.T) {
	h := newHarness(t, "block")
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	low := limit
	low.Cur = uint64(lowestFreeFD(t) + 12)
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &low); err != nil {
		t.Fatal(err)
	}
	r := h.run(64)
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	if r.ExitCode != 125 || r.Err == nil || !strings.Contains(r.Err.Error(), "ulimit -n") {
		t.Errorf("%+v", r)
	}
	for _, w := range r.Workers {
		if !w.Stopped() {
			t.Errorf("%s", w)
		}
	}
}

// lowestFreeFD returns the lowest descriptor that is not in use (open(2)).
func lowestFreeFD(t *testing.T) int {
	t.Helper()
	f, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	return int(f.Fd())
}

// TestBinding checks that a worker is bound to the CPUs of its plan from its first instruction.
func TestBinding(t *testing.T) {
	h := newHarness(t, "report")
	all := h.plan(1).Workers[0].CPUs
	one := affinity.CPUs(all.Max())
	r := h.run(2, func(p *plan.Plan) { p.Workers[1].CPUs = one })
	if r.ExitCode != 0 {
		t.Fatalf("%+v", r)
	}
	for rank, want := range []affinity.CPUSet{all, one} {
		if !strings.Contains(h.stdout.String(), fmt.Sprintf(`[%d] report {`, rank)) ||
			!strings.Contains(h.stdout.String(), fmt.Sprintf(`"CPUs":%q`, want)) {
			t.Errorf("rank %d does not run on %s:\n%s", rank, want, h.stdout.String())
		}
	}
}

// TestLeftovers checks that what workers leave behind is asked to end and then killed, and that
// this happens only in a subreaper.
func TestLeftovers(t *testing.T) {
	t.Run("asked", func(t *testing.T) {
		h := newHarness(t, "leave", "block")
		h.sweeping()
		r := h.run(2)
		if r.ExitCode != 0 || len(r.Killed) != 0 || len(h.logged) != 1 ||
			!strings.Contains(h.logged[0], "2 processes that they left behind") {
			t.Errorf("%+v, logged %q", r, h.logged)
		}
		launchertest.Gone(t, pids(h.stdout.String())...)
	})
	t.Run("killed", func(t *testing.T) {
		h := newHarness(t, "leave", "ignore")
		h.cfg.Grace = time.Millisecond
		h.sweeping()
		r := h.run(2)
		if r.ExitCode != 0 || len(r.Killed) != 2 || len(r.Summary()) != 1 {
			t.Errorf("%+v %q", r, r.Summary())
		}
		launchertest.Gone(t, pids(h.stdout.String())...)
	})
	t.Run("without a subreaper they stay", func(t *testing.T) {
		// The negative control.
		h := newHarness(t, "leave", "ignore")
		h.cfg.Grace = time.Millisecond
		if r := h.run(1); r.ExitCode != 0 || len(r.Killed) != 0 {
			t.Errorf("%+v", r)
		}
		pid, err := strconv.Atoi(pids(h.stdout.String())[0])
		if err != nil || unix.Kill(pid, 0) != nil {
			t.Fatalf("process %d is gone (%v)", pid, err)
		}
		if err := unix.Kill(pid, unix.SIGKILL); err != nil {
			t.Error(err)
		}
	})
}

// TestPipeHeldOutsideOfJob checks that a job ends although a process outside of it, here this one,
// holds a descriptor of a worker's output.
func TestPipeHeldOutsideOfJob(t *testing.T) {
	h := newHarness(t, "relay")
	var held *os.File
	h.whenPrinted(1, "ready", func() {
		var err error
		if held, err = os.OpenFile("/proc/"+pids(h.stdout.String())[0]+"/fd/1", os.O_WRONLY,
			0); err != nil {
			t.Error(err)
		}
		h.sup.Request(supervisor.Request{Signal: unix.SIGUSR1})
	})
	h.whenPrinted(1, "got SIGUSR1", func() {
		pid, _ := strconv.Atoi(pids(h.stdout.String())[0])
		_ = unix.Kill(pid, unix.SIGTERM) // relay exits with 0; this is no request to the job
	})
	r := h.run(1)
	if r.ExitCode != 0 || r.Signal != "" || !strings.Contains(h.stdout.String(), "got SIGTERM") {
		t.Errorf("%+v\n%s", r, h.stdout.String())
	}
	held.Close()
}

// TestNoDescriptorLeaks runs a job many times and checks that no descriptor stays open.
func TestNoDescriptorLeaks(t *testing.T) {
	h := newHarness(t, "fail", "0", "1")
	h.run(2)
	before := lowestFreeFD(t)
	for range 20 {
		h.run(2)
	}
	if after := lowestFreeFD(t); after != before {
		t.Errorf("the lowest free descriptor was %d and is %d", before, after)
	}
}
