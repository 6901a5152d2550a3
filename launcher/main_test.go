package launcher

import (
	"context"
	"os"
	"strings"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"github.com/gpulaunch/gpulaunch/affinity"
	"github.com/gpulaunch/gpulaunch/launcher/launchertest"
	"github.com/gpulaunch/gpulaunch/launcher/plan"
	"github.com/gpulaunch/gpulaunch/launcher/plan/plantest"
	"github.com/gpulaunch/gpulaunch/launcher/supervisor"
)

func TestMain(m *testing.M) {
	Init()
	launchertest.RunIfWorker()
	goleak.VerifyTestMain(m, goleak.IgnoreTopFunction("os/signal.signal_recv"),
		goleak.IgnoreTopFunction("os/signal.loop"))
}

// harness runs jobs in the test process.
type harness struct {
	t   *testing.T
	cfg Config
	sup *supervisor.Supervisor

	mu     sync.Mutex
	events []Event
	logged []string
	stdout launchertest.Buffer
	stderr launchertest.Buffer
}

// newHarness returns a harness. Its workers run one of the programs that launchertest has for
// workers.
func newHarness(t *testing.T, worker ...string) *harness {
	t.Helper()
	h := &harness{t: t, sup: supervisor.New()}
	h.cfg = Config{
		Argv:    append([]string{"/proc/self/exe"}, launchertest.WorkerArgs(worker...)...),
		Environ: os.Environ(), Grace: launchertest.Patience, Output: OutputPrefix,
		Stdout: &h.stdout, Stderr: &h.stderr, Supervisor: h.sup,
		RestartDelay: -1,
		Observe: func(e Event) {
			h.mu.Lock()
			defer h.mu.Unlock()
			h.events = append(h.events, e)
		},
		Log: func(line string) {
			h.mu.Lock()
			defer h.mu.Unlock()
			h.logged = append(h.logged, line)
		},
	}
	t.Cleanup(h.sup.Close)
	return h
}

// sweeping makes the job's process, which is this one, a child subreaper until the test ends.
func (h *harness) sweeping() {
	h.t.Helper()
	h.cfg.Subreaper = true
	launchertest.EndSubreaper(h.t)
}

// run runs a job of n workers to its end, after changing its plan.
func (h *harness) run(n int, change ...func(*plan.Plan)) Result {
	h.t.Helper()
	p := h.plan(n)
	for _, c := range change {
		c(&p)
	}
	return Run(context.Background(), p, h.cfg)
}

// plan returns a plan for n workers, each of which may use all CPUs.
func (h *harness) plan(n int) plan.Plan {
	h.t.Helper()
	cpus := launchertest.AllowedCPUs(h.t)
	topology := &affinity.Topology{
		Online: cpus, Allowed: cpus, Nodes: []affinity.Node{{CPUs: cpus}},
	}
	for cpu := range cpus.All() {
		topology.Cores = append(topology.Cores, affinity.Core{
			ID: len(topology.Cores), Package: -1, CPUs: affinity.CPUs(cpu),
		})
	}
	return plantest.Plan(h.t, plan.Machine{Topology: topology}, plan.Options{
		Workers: plan.Workers(n), MasterPort: 1, Environ: h.cfg.Environ,
	})
}

// whenPrinted calls f as soon as the standard output contains text n times. The test fails if it
// never does.
func (h *harness) whenPrinted(n int, text string, f func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		if h.stdout.Until(func(all string) bool { return strings.Count(all, text) >= n }) {
			f()
			return
		}
		h.t.Errorf("the standard output does not contain %q %d times:\n%s", text, n, &h.stdout)
	}()
	h.t.Cleanup(func() { <-done })
}

// exits returns the ranks of workers in the order in which they were seen to end.
func (h *harness) exits() (ranks []int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, e := range h.events {
		if e.Kind == WorkerExited {
			ranks = append(ranks, e.Rank)
		}
	}
	return ranks
}
