package launcher

import (
	"slices"
	"testing"
	"time"

	"github.com/gpulaunch/gpulaunch/launcher/report"
)

// TestRootCauseIsTheEarliestFailure checks that the worker that failed first is the root cause in
// whatever order the workers are listed, and that none is that ended well or was stopped.
func TestRootCauseIsTheEarliestFailure(t *testing.T) {
	at := func(rank, second int, how report.How) report.Worker {
		w := report.Worker{Rank: rank, Ended: time.Unix(int64(second), 0), How: how,
			ExitStatus: ExitStatus{Code: 1}}
		if how == report.Success {
			w.Code = 0
		}
		return w
	}
	ended := []report.Worker{
		at(0, 1, report.Success), at(1, 2, report.ByLauncher), at(2, 3, report.ByItself),
		at(3, 4, report.FromOutside), at(4, 5, report.OutOfMemory),
	}
	for _, order := range [][]int{{0, 1, 2, 3, 4}, {4, 3, 2, 1, 0}, {3, 2, 4, 0, 1}} {
		var workers []report.Worker
		for _, i := range order {
			workers = append(workers, ended[i])
		}
		markRoot(workers)
		var roots []int
		for _, w := range workers {
			if w.RootCause {
				roots = append(roots, w.Rank)
			}
		}
		if !slices.Equal(roots, []int{2}) {
			t.Errorf("in the order %v the root causes are the ranks %v, want 2", order, roots)
		}
	}
	none := []report.Worker{ended[0], ended[1]}
	markRoot(none)
	if none[0].RootCause || none[1].RootCause {
		t.Errorf("without a failure there is a root cause: %+v", none)
	}
}
