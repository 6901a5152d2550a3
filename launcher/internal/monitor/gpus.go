package monitor

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/gpulaunch/gpulaunch/gpu"
	"github.com/gpulaunch/gpulaunch/launcher/plan"
)

// sampleLimit is how long the GPUs may take for one sample.
const sampleLimit = 3 * time.Second

// gpuQueries allows one query at a time and remembers whether queries are answered.
type gpuQueries struct {
	turn chan struct{} // holds a token while a query is under way

	// The holder of the turn owns what follows.
	failures int       // queries in a row that were not answered
	since    time.Time // when the first of them began
	said     bool      // the user has been told
}

// sampleGPUs takes one sample of the GPUs.
func (m *Monitor) sampleGPUs(ctx context.Context) {
	limited, cancel := context.WithTimeout(ctx, sampleLimit)
	defer cancel()
	select {
	case m.queries.turn <- struct{}{}:
		defer func() { <-m.queries.turn }()
	case <-limited.Done():
		return
	}
	begin := time.Now()
	s, err := m.GPUs.Sample(limited)
	if err == nil && s.Error != "" {
		err = errors.New(s.Error)
	}
	switch {
	case err == nil:
		m.queriesWork()
		m.findLosses(s.Devices)
		m.Observer.GPUsSampled(s)
	case ctx.Err() == nil: // otherwise the query was given up because the job has ended
		m.queryFailed(begin, err)
		m.Observer.GPUsSilent(err.Error())
	}
}

// CheckGPUs takes a sample now, if the job has GPUs. It returns when that has been looked at, and
// after sampleLimit or when ctx ends at the latest. It is called before a restart, because a worker
// may die of a lost GPU long before the next sample would tell.
func (m *Monitor) CheckGPUs(ctx context.Context) {
	if m.GPUs != nil && m.plan().Mode == plan.ModeGPU {
		m.sampleGPUs(ctx)
	}
}

// queryFailed tells the user once that NVML hangs, or that it does not work: a query that fails
// once may be the death of a child process that is replaced at once.
func (m *Monitor) queryFailed(begin time.Time, err error) {
	q := &m.queries
	if q.failures == 0 {
		q.since = begin
	}
	q.failures++
	hangs := errors.Is(err, context.DeadlineExceeded)
	if q.said || m.plan().Mode != plan.ModeGPU || !hangs && q.failures < 2 {
		return
	}
	q.said = true
	what := fmt.Sprintf("NVML does not work (%v)", err)
	if hang := new(gpu.HangError); errors.As(err, &hang) {
		what = hang.Error()
	} else if hangs {
		what = (&gpu.HangError{For: time.Since(begin)}).Error()
	}
	m.Observer.Log(what + "; whether GPUs are lost, and their figures, are unknown until it answers")
}

// queriesWork tells the user that NVML answers again.
func (m *Monitor) queriesWork() {
	q := &m.queries
	if q.said {
		m.Observer.Log(fmt.Sprintf("NVML answers again, after %v",
			time.Since(q.since).Round(100*time.Millisecond)))
	}
	q.failures, q.said = 0, false
}

// stop waits up to lateLimit for the query under way and allows no further ones. It reports whether
// the last one was answered, so that asking once more makes sense.
func (q *gpuQueries) stop() bool {
	select {
	case q.turn <- struct{}{}:
		return q.failures == 0
	case <-time.After(lateLimit):
		return false
	}
}
