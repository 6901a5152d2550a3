package monitor

import (
	"os"
	"strings"
	"testing"

	"github.com/gpulaunch/gpulaunch/affinity"
	"github.com/gpulaunch/gpulaunch/launcher/plan"
)

// TestStartedWorkerHasItsCPUs checks that a worker that did not get the CPUs of its plan is named
// at once, and that nothing is said of one that got them, of one that is not bound, and of one that
// has ended already.
func TestStartedWorkerHasItsCPUs(t *testing.T) {
	mine, err := affinity.Current(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	const gone = 1 << 30 // above the largest pid that the kernel knows
	// The kernel drops a CPU that is not there without an error (sched_setaffinity(2)).
	more := mine.Union(affinity.CPUs(mine.Max() + 1))
	for what, c := range map[string]struct {
		cpus affinity.CPUSet
		pid  int
		want string
	}{
		"other CPUs": {more, os.Getpid(),
			"runs on CPUs " + mine.String() + " instead of " + more.String()},
		"the CPUs of its plan": {mine, os.Getpid(), ""},
		"not bound":            {affinity.CPUSet{}, os.Getpid(), ""},
		"ended":                {more, gone, ""},
	} {
		m, lines, _ := newTestMonitor()
		m.WorkerStarted(&plan.Worker{Rank: 1, CPUs: c.cpus}, c.pid)
		logged := strings.Join(lines(), "\n")
		if !strings.Contains(logged, c.want) || (logged == "") != (c.want == "") {
			t.Errorf("%s: logged %q, want %q", what, logged, c.want)
		}
	}
}
