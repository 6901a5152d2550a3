package launcher

import (
	"bytes"
	"context"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"github.com/gpulaunch/gpulaunch/affinity"
	"github.com/gpulaunch/gpulaunch/launcher/launchertest"
	"github.com/gpulaunch/gpulaunch/launcher/plan"
	"github.com/gpulaunch/gpulaunch/launcher/supervisor"
)

func TestMain(m *testing.M) {
	Init()
	launchertest.RunIfWorker()
	goleak.VerifyTestMain(m, goleak.IgnoreTopFunction("os/signal.signal_recv"), goleak.IgnoreTopFunction("os/signal.loop"))
}

// harness runs jobs in this process.
type harness struct {
	t   *testing.T
	cfg Config
	sup *supervisor.Supervisor

	mu     sync.Mutex
	events []Event
	logged []string
	stdout output
	stderr output
}

// output collects what a sink gets.
type output struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.String()
}

// newHarness has workers do what launchertest's workers can do.
func newHarness(t *testing.T, worker ...string) *harness {
	t.Helper()
	h := &harness{t: t, sup: supervisor.New()}
	h.cfg = Config{
		Argv:    append([]string{"/proc/self/exe"}, launchertest.Worker(worker...)[2:]...),
		Environ: os.Environ(), Grace: launchertest.Patience, Output: OutputPrefix,
		Stdout: &h.stdout, Stderr: &h.stderr, Supervisor: h.sup,
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

// sweeping makes this process a subreaper for the rest of the test.
func (h *harness) sweeping() {
	h.t.Helper()
	h.cfg.Subreaper = true
	h.t.Cleanup(func() {
		if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0); err != nil {
			h.t.Error(err)
		}
	})
}

// run runs a job of n workers to its end.
func (h *harness) run(n int, change ...func(*plan.Plan)) Result {
	h.t.Helper()
	p := h.plan(n)
	for _, c := range change {
		c(&p)
	}
	return Run(context.Background(), p, h.cfg)
}

// plan is a plan for n workers that may use all CPUs.
func (h *harness) plan(n int) plan.Plan {
	h.t.Helper()
	cpus, err := affinity.Current(os.Getpid())
	if err != nil {
		h.t.Fatal(err)
	}
	node := affinity.Node{CPUs: cpus}
	m := plan.Machine{Topology: &affinity.Topology{Online: cpus, Allowed: cpus, Nodes: []affinity.Node{node}}}
	for cpu := range cpus.All() {
		m.Topology.Cores = append(m.Topology.Cores, affinity.Core{ID: len(m.Topology.Cores), Package: -1, CPUs: affinity.CPUs(cpu)})
	}
	p, err := plan.New(m, plan.Options{Workers: plan.Workers(n), MasterPort: 1, Environ: h.cfg.Environ})
	if err != nil {
		h.t.Fatal(err)
	}
	return p
}

// when calls f once, as soon as the standard output holds n times text.
func (h *harness) when(n int, text string, f func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		for deadline := time.Now().Add(launchertest.Patience); time.Now().Before(deadline); <-time.After(time.Millisecond) {
			if strings.Count(h.stdout.String(), text) >= n {
				f()
				return
			}
		}
	}()
	h.t.Cleanup(func() { <-done })
}

// exits gives the ranks in the order in which they were seen to end.
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
