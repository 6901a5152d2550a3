package monitor

import (
	"context"
	"time"
)

// sampleLimit is how long the GPUs may take for one sample.
const sampleLimit = 3 * time.Second

// gpuQueries allows one query at a time and remembers whether queries are answered.
type gpuQueries struct {
	turn   chan struct{} // holds a token while a query is under way
	failed bool          // the last query was not answered; owned by the holder of the turn
}

// sampleGPUs takes one sample of the GPUs.
func (m *Monitor) sampleGPUs(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, sampleLimit)
	defer cancel()
	select {
	case m.queries.turn <- struct{}{}:
		defer func() { <-m.queries.turn }()
	case <-ctx.Done():
		return
	}
	s, err := m.GPUs.Sample(ctx)
	m.queries.failed = err != nil || s.Error != ""
	switch {
	case err != nil:
		m.Observer.GPUsSilent(err.Error())
	case s.Error != "":
		m.Observer.GPUsSilent(s.Error)
	default:
		m.Observer.GPUsSampled(s)
	}
}

// stop waits up to lateLimit for the query under way and allows no further ones. It reports whether
// the last one was answered, so that asking once more makes sense.
func (q *gpuQueries) stop() bool {
	select {
	case q.turn <- struct{}{}:
		return !q.failed
	case <-time.After(lateLimit):
		return false
	}
}
